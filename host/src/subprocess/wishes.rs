//! What is wished of the supervisor: a fresh interpreter, none for a while, none any more.

use std::time::Duration;

use tokio::sync::watch;

use super::Supervisor;
use super::phase::{Phase, Stop, Wanted};
use crate::failure::{Failure, Result};

impl Supervisor {
    /// A fresh interpreter: the present one is stopped, one that was stopped or given up is started.
    pub fn restart(&self) {
        let next = if self.process.get().is_some() { Phase::Stopping } else { Phase::Starting };
        self.wanted.send_modify(|wanted| {
            wanted.generation += 1;
            wanted.rest = None;
        });
        self.phase.send_replace(next); // at once, so that whoever waits does not see the old phase
    }

    /// Start one where none comes by itself. Returns when it is ready.
    pub async fn start(&self) -> Result<()> {
        let given_up = matches!(*self.phase.borrow(), Phase::Failed(_));
        if given_up || self.wanted.borrow().rest.is_some() {
            self.restart();
        }
        self.channel().await.map(drop)
    }

    /// Let none run until `start` or `restart`; returns when the process is gone. Its runs are kept.
    pub async fn rest(&self, drain: Duration) {
        if !matches!(*self.phase.borrow(), Phase::Resting | Phase::Stopped) {
            self.phase.send_replace(Phase::Stopping);
        }
        self.wanted.send_modify(|wanted| {
            wanted.rest.get_or_insert(Stop { drain, hurry: false });
        });
        let over = |phase: &Phase| !matches!(phase, Phase::Stopping | Phase::Starting | Phase::Restarting);
        let _ = self.phase.subscribe().wait_for(over).await;
    }

    pub(super) async fn rest_until(&self, wanted: &mut watch::Receiver<Wanted>) {
        self.orders.refuse(&Self::resting());
        self.log.line("no interpreter until one is asked for");
        self.phase.send_replace(Phase::Resting);
        self.observer.interpreter("stopped", "was stopped on request; its runs go on when it is started");
        let _ = wanted.wait_for(|wanted| wanted.stop.is_some() || wanted.rest.is_none()).await;
    }

    /// Stop for good; returns when the process is gone. `drain`: how long running steps may take to finish.
    pub async fn stop(&self, drain: Duration) {
        self.wanted.send_modify(|wanted| {
            wanted.stop.get_or_insert(Stop { drain, hurry: false });
        });
        let _ = self.phase.subscribe().wait_for(|phase| matches!(phase, Phase::Stopped)).await;
    }

    /// Do not wait for the interpreter any longer.
    pub fn hurry(&self) {
        self.wanted.send_modify(|wanted| wanted.stop = Some(Stop { drain: Duration::ZERO, hurry: true }));
    }

    /// Why no interpreter is to be had, where that is wished.
    pub(super) fn unwanted(&self) -> Option<Failure> {
        let wanted = self.wanted.borrow();
        wanted.stop.map(|_| Self::stopping()).or_else(|| wanted.rest.map(|_| Self::resting()))
    }

    pub(super) fn stopping() -> Failure {
        Failure::unavailable("the host is stopping; its runs are kept").hint("symphony runs resume ID")
    }

    fn resting() -> Failure {
        Failure::unavailable("the interpreter was stopped on request").hint("symphony host restart")
    }
}
