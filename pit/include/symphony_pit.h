/* symphony_pit.h: the C ABI between the Symphony host and a Pit component, version 1.1.
 *
 * A component is a shared library with one exported data symbol, `symphony_pit_entry_v1`. The host compares the first 16
 * bytes of it (magic, size, version) before it touches anything else, describes the component from its tables without
 * running any of its code, and then calls: create, restore (a snapshot), replay (each later record), start, methods, stop,
 * destroy.
 *
 * Rules that hold everywhere
 *   Memory     What a caller passes is borrowed for the length of the call. What a callee returns is released by the
 *              function that comes with it. Neither side frees what the other one allocated.
 *   Threads    Each function says in brackets where it is called: [any thread], also at the same time; [one at a time], from
 *              any thread, but not before the call before it has returned; [start], by the one thread that brings a component
 *              back, before any method is called.
 *   Errors     Each function says how it fails, or that it cannot. An error's text and context go to `out`, where there is one.
 *   Locks      Under a lock of its own a component calls `append`, `log` and `now`, nothing else: no waker, no other
 *              component, no callout. A lock that a FAST method takes is never held across a system call.
 *   Text       UTF-8, not terminated, with its length.
 *   Time       Microseconds since the epoch, UTC.
 *   Growth     Structs that carry their size may grow at their end, the others stay as they are; what is optional is asked for
 *              by id and revision. A new minor version adds, a new major one may change.
 *
 * Needs C11. Also usable from C++.
 */
#ifndef SYMPHONY_PIT_H
#define SYMPHONY_PIT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---------------------------------------------------------------------------------------------------- version */

#define SYMPHONY_PIT_MAGIC "SYMPHPIT"
/* Components of another major version are refused. */
#define SYMPHONY_PIT_ABI_MAJOR 1
/* Components of a newer minor version are refused; older ones are served. */
#define SYMPHONY_PIT_ABI_MINOR 1

/* ------------------------------------------------------------------------------------------------------- text */

/* Text with its length. In an entry and its tables it is static. */
typedef struct symphony_str {
  const uint8_t *ptr;
  size_t len;
} symphony_str;

/* Text from a string literal. */
#define SYMPHONY_STR(literal) {(const uint8_t *)(literal), sizeof(literal) - 1}

/* ----------------------------------------------------------------------------------------------------- status */

/* What a call answers: SYMPHONY_OK, or the kind of its error. Python raises the class named behind each kind. */
enum symphony_status {
  SYMPHONY_OK = 0,
  SYMPHONY_INVALID_ARGUMENT = 1, /* PitInvalidArgument, a ValueError */
  SYMPHONY_NOT_FOUND = 2,        /* PitNotFound, a LookupError */
  SYMPHONY_EXHAUSTED = 3,        /* PitExhausted, a RuntimeError: a limit is reached */
  SYMPHONY_CONFLICT = 4,         /* PitConflict: not possible in this state */
  SYMPHONY_WOULD_BLOCK = 5,      /* PitWouldBlock */
  SYMPHONY_CANCELLED = 6,        /* PitCancelled */
  SYMPHONY_TIMED_OUT = 7,        /* PitTimeout, a TimeoutError */
  SYMPHONY_IO = 8,               /* PitIO, an OSError */
  SYMPHONY_CORRUPT = 9,          /* PitCorrupt: bytes that cannot be what was written */
  SYMPHONY_INTERNAL = 10,        /* PitError */
  SYMPHONY_PANIC = 11,           /* PitPanic: the component's code broke down, the process lives */
  SYMPHONY_WRONG_TYPE = 12       /* PitWrongType, a TypeError: an argument is of another type than the method takes */
};
/* Answer of a poll whose operation is not done. */
#define SYMPHONY_PENDING UINT32_MAX
/* Answer of a poll of a stream that has no more items. */
#define SYMPHONY_END (UINT32_MAX - 1)

/* ----------------------------------------------------------------------------------------------------- values */

enum symphony_tag {
  SYMPHONY_NONE = 0,
  SYMPHONY_BOOL = 1,  /* data.uint, 0 or 1 */
  SYMPHONY_INT = 2,   /* data.integer */
  SYMPHONY_UINT = 3,  /* data.uint; only where it does not fit an int64_t */
  SYMPHONY_FLOAT = 4, /* data.real */
  SYMPHONY_TEXT = 5,  /* data.span: bytes of UTF-8 */
  SYMPHONY_BYTES = 6, /* data.span: bytes */
  SYMPHONY_LIST = 7,  /* data.span: symphony_value[len]; `kind` is a symphony_list_kind */
  SYMPHONY_MAP = 8,   /* data.span: symphony_value[2 * len], key and value in turn */
  /* Bytes that stay where they are: only as a whole result, which Python sees as a memoryview until it lets go. */
  SYMPHONY_BUFFER = 9,
  /* data.span: a message (text), context (a map of text) and, where there are causes, a list of them, nearest first, each a
   * list of its kind (a symphony_status as SYMPHONY_INT), message and context. The status of the call is its own kind. */
  SYMPHONY_ERROR = 10,
  /* data.uint: a number for something of the component's; only as a whole result. Released when Python lets go. */
  SYMPHONY_HANDLE = 11,
  /* data.span: the bytes of an int beyond 64 bits, in two's complement, the lowest first. Since 1.1. */
  SYMPHONY_BIG = 12,
  /* data.span: symphony_value[3], a value of a type without a tag. First its name (text): `datetime`, `path`, `record` for
   * classes with fields, `ndarray`; then what stands for it, whose form is the Python side's (give it back as it came); last
   * the nearest value with a tag of its own, or SYMPHONY_NONE: a map of the fields of a record, the bytes of an array, the
   * number of an IntEnum. Who wants a plain value reads the last. In a result the last may be left out. Since 1.1. */
  SYMPHONY_EXTENSION = 13
};

/* What a SYMPHONY_LIST is in Python. Who does not care reads a list. Since 1.1; before that it was always a list. */
enum symphony_list_kind {
  SYMPHONY_KIND_LIST = 0,
  SYMPHONY_KIND_TUPLE = 1,
  SYMPHONY_KIND_SET = 2,
  SYMPHONY_KIND_FROZENSET = 3
};

/* Pointer and count: bytes, values of a list, error or extension, or pairs of a map. `ptr` is not read where `len` is 0. */
typedef struct symphony_span {
  const void *ptr;
  size_t len;
} symphony_span;

typedef union symphony_data {
  int64_t integer;
  uint64_t uint;
  double real;
  symphony_span span;
} symphony_data;

/* A tagged value. An argument is borrowed for the call, also what it points to: copy what shall stay. An int argument comes
 * as SYMPHONY_INT, as SYMPHONY_UINT above INT64_MAX, or as SYMPHONY_BIG where it fits neither. The host does not check types
 * for a component: it must. */
typedef struct symphony_value {
  uint32_t tag;
  uint32_t kind; /* of a SYMPHONY_LIST, or of a SYMPHONY_ERROR where no status goes with it, as from `create`; else 0 */
  symphony_data data;
} symphony_value;

/* The result of a call, filled by the callee: also of a failed one, with a SYMPHONY_ERROR or with SYMPHONY_NONE where there
 * is nothing to say. Where `release` is set, the caller calls it once with `owner`, on any thread, when it has read `value`. */
typedef struct symphony_returned {
  symphony_value value;
  void *owner;
  /* Give back what `value` points to; takes `owner` over. Cannot fail. [any thread] */
  void (*release)(void *owner);
} symphony_returned;

/* ------------------------------------------------------------------------------------- asynchronous operations */

/* Wakes whoever polls: at most once per poll, never under a lock. A waker that is passed is borrowed. */
typedef struct symphony_waker symphony_waker;
struct symphony_waker {
  const void *data;
  /* A waker to keep; it ends by one `wake` or `drop`. Cannot fail. [any thread] */
  symphony_waker (*clone)(const void *data);
  /* Wake, and end this clone. Cannot fail. [any thread] */
  void (*wake)(const void *data);
  /* Wake, and keep this waker. Cannot fail. [any thread] */
  void (*wake_by_ref)(const void *data);
  /* End this clone without waking. Cannot fail. [any thread] */
  void (*drop)(const void *data);
};

/* What an ASYNC method returns: SYMPHONY_OK, a value SYMPHONY_NONE, `owner` pointing to this struct (which a component puts
 * first in a larger one of its own), `release` dropping it. To drop an operation that is not done is to cancel it. */
typedef struct symphony_operation symphony_operation;
struct symphony_operation {
  uint32_t size; /* sizeof(symphony_operation) */
  uint32_t reserved;
  /* Go on with the work. SYMPHONY_PENDING, after which the waker (borrowed for the call) or a clone is woken once; or a final
   * status with `out` filled, which the caller releases. Not called again once final. Must not block. Fails with any kind.
   *
   * The operation of a STREAM method gives one item with each SYMPHONY_OK, and is polled again when the next one is asked for,
   * never ahead: who makes items faster than they are taken keeps a bounded number and waits. SYMPHONY_END (`out` is not read)
   * or an error ends it. Dropped before its end, it is cancelled. [one at a time] */
  uint32_t (*poll)(symphony_operation *self, const symphony_waker *waker, symphony_returned *out);
};

/* ---------------------------------------------------------------------------------------------------- methods */

enum symphony_flag {
  SYMPHONY_FAST = 1,     /* never blocks; runs while Python's lock is held */
  SYMPHONY_BLOCKING = 2, /* may block; Python's lock is given up for it. Refused on a thread that runs an event loop. */
  SYMPHONY_ASYNC = 4,    /* returns an operation. By custom the twin of a BLOCKING method `x` is called `x_async`. */
  SYMPHONY_STREAM = 8,    /* with SYMPHONY_ASYNC: the operation gives items, `async for` in Python; `returns` is an item's type */
  /* With BLOCKING: it waits for others, as its twin `x_async` with the same parameters does. On the main thread the host waits
   * for the twin's operation instead, and drops it when the user interrupts. Since 1.1. */
  SYMPHONY_WAITING = 16
};

/* A parameter. `type_name` is a Python type expression for help() and stubs, such as `int`, `str | None`, `list[str]`.
 * `default_literal` is a Python literal; empty = the argument is required. */
typedef struct symphony_param {
  symphony_str name;
  symphony_str type_name;
  symphony_str default_literal;
} symphony_param;

/* A method: a name of ASCII letters, digits and `_`, one of the flags, at most 12 parameters. */
typedef struct symphony_method {
  uint32_t size; /* sizeof(symphony_method) */
  uint32_t flags;
  symphony_str name;
  const symphony_param *params;
  size_t param_count;
  symphony_str returns; /* a Python type expression */
  symphony_str doc;
  /* Do it. One argument per parameter, defaults filled in, borrowed; fills `out`, which the caller releases, and answers a
   * symphony_status. Must not let an exception or a longjmp out. Fails with any kind. Between `start` and `stop`.
   * [any thread] */
  uint32_t (*call)(const void *instance, const symphony_value *args, size_t count, symphony_returned *out);
} symphony_method;

/* ---------------------------------------------------------------------------------------------------- records */

/* A record as it is replayed, borrowed for the call. `time` is the one given to append: replay takes time and randomness from
 * the record, never from the clock. */
typedef struct symphony_record {
  uint64_t position; /* grows from record to record */
  int64_t time;
  uint16_t kind;
  uint16_t revision;
  uint32_t reserved;
  const uint8_t *payload;
  size_t len;
} symphony_record;

/* ----------------------------------------------------------------------------------------------- the host table */

enum symphony_level { SYMPHONY_DEBUG = 0, SYMPHONY_INFO = 1, SYMPHONY_WARNING = 2, SYMPHONY_SEVERE = 3 };

/* What the host gives to `create`. It lives as long as the instance; `context` is the first argument of every function. */
typedef struct symphony_host {
  uint32_t size;    /* what this host has of the struct */
  uint32_t durable; /* 1: records must survive power loss, so sync a file of your own before a record names it */
  void *context;
  symphony_str data_dir; /* a folder that this component alone writes to; it may not exist yet */

  /* Append one record, whose revision is at most the entry's: its position (≥ 0). Once it has returned, the record outlives
   * the process. Payload borrowed. May be called under a lock, so that the order of records is the order of changes. Not before
   * `start`. Fails with −1 a revision beyond the entry's, −3 too large (1 MiB), −4 the log is closed, −8 no space or read-only:
   * then nothing was appended. [any thread] */
  int64_t (*append)(void *context, uint16_t kind, uint16_t revision, int64_t time, const uint8_t *payload, size_t len);

  /* The time. May be called under a lock. Cannot fail. [any thread] */
  int64_t (*now)(void *context);

  /* A line for the host's log; text borrowed. May be called under a lock. Cannot fail. [any thread] */
  void (*log)(void *context, uint32_t level, symphony_str text);

  /* Wait until the record at `position` survives power loss, where `durable` promises that; else return at once. Blocks: not
   * under a lock, not in a FAST method. Fails with SYMPHONY_IO: then what was appended may not survive it. [any thread] */
  uint32_t (*flush_to)(void *context, uint64_t position);

  /* A table of further abilities by its id (borrowed), static. Fails with NULL where this host has it not. [any thread] */
  const void *(*extension)(void *context, symphony_str id);
} symphony_host;

/* ------------------------------------------------------------------------------------ extension: timers, threads */

#define SYMPHONY_ASYNC_EXTENSION "symphony.async/1"

typedef struct symphony_async {
  uint32_t size;
  uint32_t reserved;
  /* Wake once at a time; the waker is borrowed, the host keeps a clone. A number for cancel_sleep. Cannot fail: without a
   * thread to wait on it wakes at once. [any thread] */
  uint64_t (*sleep_until)(void *context, int64_t when, const symphony_waker *waker);
  /* Forget a timer; the number of one that has fired is ignored. Cannot fail. [any thread] */
  void (*cancel_sleep)(void *context, uint64_t timer);
  /* Run `job` once with `data`, which it takes over, on a thread that may block. Fails with SYMPHONY_EXHAUSTED: then it does
   * not run, and `data` stays the caller's. [any thread] */
  uint32_t (*spawn_blocking)(void *context, void (*job)(void *data), void *data);
} symphony_async;

/* ------------------------------------------------------------------------------------ extension: other components */

#define SYMPHONY_CALLS_EXTENSION "symphony.calls/1"

typedef struct symphony_calls {
  uint32_t size;
  uint32_t reserved;
  /* Call a FAST or BLOCKING method of a component that the entry declares in `calls`. Arguments borrowed; missing ones at the
   * end take their defaults; `out` is released by the caller. Not under a lock. From `start` on. Fails as the method does, with
   * SYMPHONY_INVALID_ARGUMENT where it is not declared or not called so, SYMPHONY_NOT_FOUND without such a method.
   * [any thread] */
  uint32_t (*call)(void *context, symphony_str component, symphony_str method, const symphony_value *args, size_t count,
                   symphony_returned *out);
} symphony_calls;

/* --------------------------------------------------------------------------------- extension: the Python engine */

#define SYMPHONY_CALLOUT_EXTENSION "symphony.callout/1"

typedef struct symphony_callout {
  uint32_t size;
  uint32_t reserved;
  /* Ask the engine for something that needs Python. Does not wait: the answer comes as a call of one of the component's
   * methods. Arguments are copied. Not under a lock. Fails with SYMPHONY_WOULD_BLOCK where no engine listens. [any thread] */
  uint32_t (*callout)(void *context, symphony_str name, const symphony_value *args, size_t count);
} symphony_callout;

#define SYMPHONY_ASK_EXTENSION "symphony.ask/1"

typedef struct symphony_ask {
  uint32_t size;
  uint32_t reserved;
  /* Ask the engine for something that needs Python, and wait for it: `out` gets an operation of the host's, as an ASYNC method
   * returns one, to poll with a waker of the component's. It gives what Python's coroutine returned, or the error that it
   * raised. Released before its end, it cancels the coroutine. Arguments are copied. Not under a lock. Fails with
   * SYMPHONY_WOULD_BLOCK where no engine listens. [any thread] */
  uint32_t (*ask)(void *context, symphony_str name, const symphony_value *args, size_t count, symphony_returned *out);
} symphony_ask;

/* -------------------------------------------------------------------------------------------------- the entry */

typedef struct symphony_entry {
  char magic[8]; /* SYMPHONY_PIT_MAGIC, without its final zero */
  uint32_t size; /* sizeof(symphony_entry) */
  uint16_t abi_major;
  uint16_t abi_minor;
  symphony_str id;      /* `acme.vectors`: ASCII letters, digits, `_`; its last part is the name in Python */
  symphony_str version; /* semver */
  symphony_str description;
  const symphony_method *methods; /* every component has `ping`, FAST, → None, and `stats`, → dict */
  size_t method_count;
  const symphony_str *calls; /* ids of the components that it calls; the edges between components form no cycle */
  size_t call_count;
  uint16_t revision; /* highest record revision that it reads; newer records are not shown to it */
  uint16_t reserved[3];

  /* Make an empty instance, the caller's until `destroy`. Must return within 30 s, on a thread of its own. Writes nothing.
   * Fails with NULL and an error in `out`. [start] */
  void *(*create)(const symphony_host *host, symphony_returned *out);
  /* Take over the newest snapshot, bytes borrowed, before any replay. NULL where `snapshot` is NULL. Fails with any kind: then
   * the instance is destroyed, and a new one reads the records instead. [start] */
  uint32_t (*restore)(const void *instance, const uint8_t *bytes, size_t len, symphony_returned *out);
  /* Apply one record of this component, in log order. NULL where it appends none. Fails with any kind: then the component is
   * disabled until someone looks after it, and its records stay. [start] */
  uint32_t (*replay)(const void *instance, const symphony_record *record, symphony_returned *out);
  /* All records are replayed: append and call from here on. May be NULL. Fails with any kind: then the Pit is not opened.
   * [start] */
  uint32_t (*start)(const void *instance, symphony_returned *out);
  /* The whole lasting state as SYMPHONY_BYTES, or SYMPHONY_NONE; the caller releases it. Called between replay and destroy, by
   * a process of its own that never calls `start`. May be NULL: then every record is replayed each time. Fails with any kind:
   * then there is no newer snapshot. [start] */
  uint32_t (*snapshot)(const void *instance, symphony_returned *out);
  /* The end: append what was kept back, stop threads. May be NULL. Cannot fail. Called once, after `start`; operations are
   * dropped afterwards. [one at a time] */
  void (*stop)(const void *instance);
  /* Free the instance. No call and no operation is under way. Cannot fail. [one at a time] */
  void (*destroy)(void *instance);
  /* A table of an ability of the component by its id (borrowed), static. May be NULL itself. Fails with NULL where it has it
   * not. [any thread] */
  const void *(*extension)(symphony_str id);
} symphony_entry;

#if defined(_WIN32)
#define SYMPHONY_EXPORT __declspec(dllexport)
#else
#define SYMPHONY_EXPORT __attribute__((visibility("default")))
#endif

/* What a component defines. */
extern SYMPHONY_EXPORT const symphony_entry symphony_pit_entry_v1;

#ifdef __cplusplus
}
#endif

#endif
