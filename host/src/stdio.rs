//! `symphonyd --stdio`: the control protocol on stdin and stdout, for a program that keeps this one as its child.
//!
//! Carries bytes to and from the control socket, of this process or of the host that runs already; understands none of them.

use std::io;
use std::path::Path;
use std::pin::pin;

use tokio::io::{AsyncWriteExt, copy, stdin, stdout};
use tokio::net::UnixStream;

/// Returns once the host has closed the connection, or nobody reads any more; `ended` is called at the end of stdin.
pub async fn relay(socket: &Path, ended: impl FnOnce()) -> io::Result<()> {
    let (mut from_host, mut to_host) = UnixStream::connect(socket).await?.into_split();
    let (mut input, mut output) = (stdin(), stdout());
    let asking = async {
        let _ = copy(&mut input, &mut to_host).await; // a host that is gone has closed the other direction, too
        let _ = to_host.shutdown().await;
        ended();
    };
    let mut answering = pin!(async {
        copy(&mut from_host, &mut output).await?;
        output.flush().await
    });
    tokio::select! {
        answered = &mut answering => return answered,
        () = asking => {}
    }
    answering.await // the host closes after its last answer
}
