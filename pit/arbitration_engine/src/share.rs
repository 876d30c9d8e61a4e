//! What each owner had of a resource so far: start-time fair queuing (Goyal, Vin and Cheng, "Start-time fair queuing: a
//! scheduling algorithm for integrated services packet switching networks", SIGCOMM 1996).
//!
//! An owner has a virtual time, in amount × seconds / weight, and the least is served first. The virtual time of the
//! resource is that of the last one served; who comes anew begins there, so that nobody saves up turns by staying away. How
//! long a grant will be held is not known when it is given (as in Goyal, Guo and Vin, "A hierarchical CPU scheduler", 1996):
//! an estimate is charged then, and corrected by the release. Two additions:
//! - When nobody waits, all begin even: what was used while nobody else wanted it is no debt.
//! - The virtual time also runs with the clock, as slowly as if 1,000 owners shared the resource: an owner that waits is not
//!   passed for ever by an endless row of new ones.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// A virtual time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tag(pub f64);

impl PartialEq for Tag {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Tag {}

impl PartialOrd for Tag {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Tag {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

#[derive(Clone, Default)]
struct Account {
    tag: Tag,
    /// Tickets that wait or are granted.
    live: usize,
}

/// The accounts of the owners of one resource's tickets.
#[derive(Clone, Default)]
pub(crate) struct Shares {
    virtual_time: Tag,
    /// The clock (µs) up to which the virtual time has run.
    clock: i64,
    /// No account is beyond this.
    top: Tag,
    accounts: HashMap<Arc<str>, Account>,
    /// Accounts without tickets, kept as long as they are ahead of the virtual time.
    idle: BTreeSet<(Tag, Arc<str>)>,
}

impl Shares {
    pub fn tag(&self, owner: &str) -> Tag {
        self.accounts.get(owner).map_or(self.virtual_time, |account| account.tag)
    }

    /// Let the virtual time run with the clock, by `pace` a second.
    pub fn run(&mut self, now: i64, pace: f64) {
        #[expect(clippy::cast_precision_loss, reason = "a span in seconds")]
        let seconds = (now - self.clock).max(0) as f64 / 1e6;
        if self.clock != 0 {
            self.advance(Tag(self.virtual_time.0 + seconds * pace));
        }
        self.clock = self.clock.max(now);
    }

    /// Nobody waits: all begin even.
    pub fn level(&mut self) {
        self.advance(self.top);
    }

    fn advance(&mut self, to: Tag) {
        self.virtual_time = self.virtual_time.max(to);
        while self.idle.first().is_some_and(|(tag, _)| *tag <= self.virtual_time) {
            if let Some((_, owner)) = self.idle.pop_first() {
                self.accounts.remove(&owner);
            }
        }
    }

    /// An owner comes with a ticket. One that did not wait begins no earlier than now, `step` later if it is new.
    pub fn join(&mut self, owner: &Arc<str>, waits: bool, step: f64) {
        let account = self.accounts.entry(Arc::clone(owner)).or_default();
        if account.live == 0 {
            self.idle.remove(&(account.tag, Arc::clone(owner)));
        }
        account.live += 1;
        if !waits && account.tag <= self.virtual_time {
            account.tag = Tag(self.virtual_time.0 + step);
            self.top = self.top.max(account.tag);
        }
    }

    /// An owner is served: its virtual time moves on.
    pub fn serve(&mut self, owner: &str, charge: f64) {
        self.advance(self.tag(owner));
        self.charge(owner, charge);
    }

    /// Charge an owner, or give back what was charged too much.
    pub fn charge(&mut self, owner: &str, charge: f64) {
        if let Some(account) = self.accounts.get_mut(owner) {
            account.tag.0 += charge;
            self.top = self.top.max(account.tag);
        }
    }

    /// A ticket of an owner ended.
    pub fn leave(&mut self, owner: &Arc<str>) {
        let Some(account) = self.accounts.get_mut(owner) else { return };
        account.live -= 1;
        if account.live > 0 {
            return;
        }
        if account.tag > self.virtual_time {
            self.idle.insert((account.tag, Arc::clone(owner)));
        } else {
            self.accounts.remove(owner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newcomer_begins_now_and_an_account_is_forgotten_once_it_is_even() {
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let mut shares = Shares::default();
        shares.join(&a, false, 0.0);
        shares.serve(&a, 5.0);
        shares.join(&b, false, 0.0);
        assert_eq!((shares.tag(&a), shares.tag(&b)), (Tag(5.0), Tag(0.0)));
        shares.leave(&a);
        assert_eq!((shares.accounts.len(), shares.idle.len()), (2, 1));
        shares.serve(&b, 9.0);
        shares.serve(&b, 9.0);
        assert_eq!((shares.accounts.len(), shares.idle.len()), (1, 0), "a is no longer ahead");
        shares.join(&a, false, 0.0);
        assert_eq!(shares.tag(&a), Tag(9.0));
        shares.leave(&a);
        shares.leave(&b);
        shares.level();
        assert_eq!((shares.accounts.len(), shares.idle.len()), (0, 0));
    }

    #[test]
    fn the_virtual_time_runs_with_the_clock() {
        let mut shares = Shares::default();
        shares.run(1_000_000, 0.5);
        assert_eq!(shares.tag("new"), Tag(0.0));
        shares.run(5_000_000, 0.5);
        assert_eq!(shares.tag("new"), Tag(2.0));
    }
}
