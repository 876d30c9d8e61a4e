//! Where a panic happened: the payload that `catch_unwind` gives does not say it, only the panic hook is told.

use std::cell::RefCell;
use std::panic;
use std::sync::Once;

thread_local! {
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From now on panics in this library leave their place behind. The hook that was there runs as before.
pub fn watch() {
    static WATCHED: Once = Once::new();
    WATCHED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let place = info.location().map(ToString::to_string);
            // A thread at its end has no place to leave it in.
            let _ = PLACE.try_with(|last| *last.borrow_mut() = place);
            before(info);
        }));
    });
}

/// File, line and column of this thread's last panic, once.
pub fn place() -> Option<String> {
    PLACE.try_with(|last| last.borrow_mut().take()).ok().flatten()
}
