//! The few system calls that std and tokio have no safe form for.
#![allow(unsafe_code)] // system calls on plain integers and descriptors; each says why it is sound

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::Path;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Command;

/// Descriptors of a child from this number on are those that it is handed.
const FIRST_HANDED: RawFd = 3;

fn checked(status: libc::c_int) -> io::Result<libc::c_int> {
    if status == -1 { Err(io::Error::last_os_error()) } else { Ok(status) }
}

pub fn effective_uid() -> u32 {
    // SAFETY: cannot fail, touches no memory.
    unsafe { libc::geteuid() }
}

/// How many descriptors this process may have.
pub fn descriptor_limit() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: a local struct; the resource exists.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX)
}

/// Nanoseconds of `CLOCK_MONOTONIC`, which all processes share.
pub fn monotonic() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a local struct; the clock exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

/// An empty file in memory.
pub fn memory_file(name: &CStr) -> io::Result<File> {
    // SAFETY: a terminated name; the result is checked before it is owned.
    let fd = checked(unsafe { libc::memfd_create(name.as_ptr(), libc::MFD_CLOEXEC) })?;
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}

/// What a file system takes yet.
pub struct Room {
    /// In bytes, for users who are not root.
    pub free: u64,
    pub read_only: bool,
}

pub fn room(path: &Path) -> io::Result<Room> {
    let path = CString::new(path.as_os_str().as_encoded_bytes())?;
    // SAFETY: an all-zero statvfs is valid and filled by the call; the path ends with a zero.
    let found = unsafe {
        let mut found: libc::statvfs = std::mem::zeroed();
        checked(libc::statvfs(path.as_ptr(), &raw mut found))?;
        found
    };
    Ok(Room { free: found.f_bavail * found.f_frsize, read_only: found.f_flag & libc::ST_RDONLY != 0 })
}

/// Bytes of memory that a process has resident; 0 once it is gone.
pub fn resident_bytes(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages: u64 = text.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    // SAFETY: touches no memory.
    pages * u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// How many processes the kernel has killed for lack of memory.
pub fn starved() -> u64 {
    let text = fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok());
    count.unwrap_or(0)
}

/// When a process started, in clock ticks since boot: together with the pid it names one process for good.
pub fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?; // the name may hold blanks and brackets
    let mut fields = after_name.split_whitespace();
    (fields.next()? != "Z").then_some(())?; // a zombie has let go of everything
    fields.nth(18)?.parse().ok()
}

/// The arguments a process was started with.
pub fn arguments(pid: i32) -> Vec<String> {
    let bytes = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    bytes.split(|byte| *byte == 0).map(|part| String::from_utf8_lossy(part).into_owned()).collect()
}

/// A handle on one process, which a reuse of its pid cannot redirect.
pub struct ProcessHandle(OwnedFd);

impl ProcessHandle {
    pub fn open(pid: i32) -> io::Result<Self> {
        // SAFETY: a system call on integers; the result is checked before it is owned.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
        let fd = checked(libc::c_int::try_from(fd).unwrap_or(-1))?;
        // SAFETY: a new descriptor that nothing else owns.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub fn kill(&self) -> io::Result<()> {
        let null = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: an open pidfd; a null siginfo asks for what kill would send.
        let status =
            unsafe { libc::syscall(libc::SYS_pidfd_send_signal, self.0.as_raw_fd(), libc::SIGKILL, null, 0) };
        checked(libc::c_int::try_from(status).unwrap_or(-1)).map(drop)
    }
}

/// Signal every process of a group. One that is empty already is fine.
pub fn signal_group(leader: u32, signal: i32) {
    if let Ok(group @ 2..) = i32::try_from(leader) {
        // SAFETY: touches no memory; the group is that of a child of ours.
        unsafe { libc::kill(-group, signal) };
    }
}

/// Signal one process, a child that was not waited for yet.
pub fn signal_process(pid: u32, signal: i32) {
    if let Ok(pid @ 2..) = i32::try_from(pid) {
        // SAFETY: touches no memory.
        unsafe { libc::kill(pid, signal) };
    }
}

/// Signal one thread of such a process. One that is gone is fine.
pub fn signal_thread(pid: u32, thread: u32, signal: i32) {
    if pid > 1 && thread > 0 {
        // SAFETY: touches no memory.
        unsafe { libc::syscall(libc::SYS_tgkill, pid, thread, signal) };
    }
}

/// Make descriptor `target` (1 or 2) mean `file` from now on.
pub fn redirect(target: RawFd, file: &File) -> io::Result<()> {
    // SAFETY: both are open; what `target` meant before is no Rust object's own.
    checked(unsafe { libc::dup2(file.as_raw_fd(), target) }).map(drop)
}

/// A descriptor whose readability can be awaited.
pub fn readable(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an owned descriptor stays open and the same one until it is dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?)
}

/// Occupy the numbers that a child is handed, so that none of the descriptors that std opens for a spawn gets one of them.
fn placeholders(count: usize) -> io::Result<Vec<OwnedFd>> {
    let null = File::open("/dev/null")?;
    let mut held = Vec::new();
    loop {
        // SAFETY: an open descriptor; the new one is owned at once.
        let fd = checked(unsafe { libc::fcntl(null.as_raw_fd(), libc::F_DUPFD_CLOEXEC, FIRST_HANDED) })?;
        // SAFETY: as above.
        held.push(unsafe { OwnedFd::from_raw_fd(fd) });
        if usize::try_from(fd - FIRST_HANDED).is_ok_and(|at| at >= count) {
            return Ok(held);
        }
    }
}

/// Start `command` in a session of its own, with `handed` as descriptors 3, 4, …; it is killed when this thread ends.
pub fn spawn<const N: usize>(
    mut command: Command,
    handed: [BorrowedFd<'_>; N],
) -> io::Result<tokio::process::Child> {
    let _held = placeholders(N)?;
    let sources = handed.map(|fd| fd.as_raw_fd());
    let parent = std::process::id().cast_signed();
    // SAFETY: between fork and exec, `prepare` only makes system calls that are async-signal-safe and allocates nothing.
    unsafe { command.pre_exec(move || prepare(parent, sources)) };
    command.spawn()
}

fn prepare<const N: usize>(parent: i32, sources: [RawFd; N]) -> io::Result<()> {
    // SAFETY: system calls on integers and on one local struct, in a freshly forked child with a single thread.
    unsafe {
        checked(libc::setsid())?;
        checked(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL))?;
        if libc::getppid() != parent {
            return Err(io::Error::from_raw_os_error(libc::ESRCH)); // the host died before the line above
        }
        // No core file, but the interpreter may raise this again where the user asks for one.
        let mut core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::getrlimit(libc::RLIMIT_CORE, &raw mut core);
        core.rlim_cur = 0;
        libc::setrlimit(libc::RLIMIT_CORE, &raw const core);
        // What this process inherited without CLOEXEC is not for the interpreter; a kernel without the call keeps it.
        libc::syscall(libc::SYS_close_range, FIRST_HANDED, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
        // First away from the targets, which may be sources too; the copy made by dup2 stays open across exec.
        let mut moved = [0; N];
        for (to, from) in moved.iter_mut().zip(sources) {
            *to = checked(libc::fcntl(from, libc::F_DUPFD_CLOEXEC, 64))?;
        }
        for (target, from) in (FIRST_HANDED..).zip(moved) {
            checked(libc::dup2(from, target))?;
        }
    }
    Ok(())
}
