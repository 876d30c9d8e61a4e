//! The methods `conductor.*`: the managed interpreter, while the host stays.

use std::rc::Rc;
use std::time::Duration;

use super::{DRAIN, Host};
use crate::failure::Result;
use crate::json::{Fields, Json};

pub(super) async fn start(host: &Rc<Host>) -> Result<Json> {
    host.interpreter.start().await?;
    Ok(host.interpreter.status().into())
}

/// Nothing starts it again but a request; its runs are kept.
pub(super) async fn stop(host: &Rc<Host>, fields: &Fields) -> Result<Json> {
    let drain = fields.seconds("drain")?.map_or(DRAIN, Duration::from_secs_f64);
    host.interpreter.rest(drain).await;
    Ok(host.interpreter.status().into())
}

pub(super) async fn restart(host: &Rc<Host>) -> Result<Json> {
    host.interpreter.restart();
    host.interpreter.channel().await?;
    Ok(host.interpreter.status().into())
}
