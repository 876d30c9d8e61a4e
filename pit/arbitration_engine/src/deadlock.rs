//! Who holds what and waits for what, and whether they wait for each other.
//!
//! A wait is a deadlock when it could not be served even after everyone who can go on has given back what they hold: with
//! several units of a resource a cycle alone proves nothing. A holder that is merely an owner may do several things at once:
//! its wait for a resource does not keep it from giving back another part of the same one.
//! The order of a queue makes no deadlock, since those for whom the next one waits may pass it ([`Holders::needed_by`]).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use crate::resource::Resource;

type Resources = BTreeMap<Arc<str>, Resource>;

/// What a holder has to do with one resource.
#[derive(Default)]
struct Stake {
    grants: usize,
    granted: f64,
    /// Amounts (as bits, which order like them) and tickets that wait.
    waiting: BTreeSet<(u64, u64)>,
}

impl Stake {
    fn largest_wait(&self) -> Option<f64> {
        self.waiting.last().map(|(bits, _)| f64::from_bits(*bits))
    }
}

#[derive(Default)]
struct Holder {
    /// It does one thing after the other: whatever it waits for keeps it from giving anything back.
    sequential: bool,
    stakes: BTreeMap<Arc<str>, Stake>,
}

impl Holder {
    /// What keeps it from giving back `resource`: resources and the largest amounts it waits for.
    fn blocked_by<'a>(&'a self, resource: &'a str) -> impl Iterator<Item = (&'a Arc<str>, f64)> {
        let others = self.stakes.iter().filter(move |(other, _)| self.sequential || ***other != *resource);
        others.filter_map(|(other, stake)| Some((other, stake.largest_wait()?)))
    }

    /// Whether it holds something that it cannot give back before a wait is over.
    fn is_entangled(&self) -> bool {
        self.stakes.iter().any(|(name, stake)| stake.grants > 0 && self.blocked_by(name).next().is_some())
    }
}

#[derive(Default)]
pub(crate) struct Holders {
    known: BTreeMap<Arc<str>, Holder>,
    /// How many are entangled; without any there is nothing to search.
    entangled: usize,
}

impl Holders {
    pub const fn are_entangled(&self) -> bool {
        self.entangled > 0
    }

    fn update<T>(
        &mut self,
        name: &Arc<str>,
        sequential: bool,
        resource: &Arc<str>,
        change: impl FnOnce(&mut Stake) -> T,
    ) -> T {
        let holder = self.known.entry(Arc::clone(name)).or_default();
        self.entangled -= usize::from(holder.is_entangled());
        holder.sequential |= sequential;
        let stake = holder.stakes.entry(Arc::clone(resource)).or_default();
        let result = change(stake);
        if stake.grants == 0 && stake.waiting.is_empty() {
            holder.stakes.remove(resource);
        }
        self.entangled += usize::from(holder.is_entangled());
        if holder.stakes.is_empty() {
            self.known.remove(name);
        }
        result
    }

    pub fn wait(&mut self, name: &Arc<str>, sequential: bool, resource: &Arc<str>, ticket: u64, amount: f64) {
        self.update(name, sequential, resource, |stake| stake.waiting.insert((amount.to_bits(), ticket)));
    }

    pub fn end_wait(&mut self, name: &Arc<str>, resource: &Arc<str>, ticket: u64, amount: f64) {
        self.update(name, false, resource, |stake| stake.waiting.remove(&(amount.to_bits(), ticket)));
    }

    pub fn grant(&mut self, name: &Arc<str>, sequential: bool, resource: &Arc<str>, amount: f64) {
        self.update(name, sequential, resource, |stake| {
            stake.grants += 1;
            stake.granted += amount;
        });
    }

    /// Whether it holds more of the resource after this.
    pub fn give_back(&mut self, name: &Arc<str>, resource: &Arc<str>, amount: f64) -> bool {
        self.update(name, false, resource, |stake| {
            stake.grants -= 1;
            stake.granted -= amount;
            stake.grants > 0
        })
    }

    /// The tickets of a holder that wait, with their resources.
    pub fn waits(&self, name: &str) -> Vec<(Arc<str>, u64)> {
        let stakes = self.known.get(name).into_iter().flat_map(|holder| &holder.stakes);
        stakes
            .flat_map(|(resource, stake)| {
                stake.waiting.iter().map(|(_, ticket)| (Arc::clone(resource), *ticket))
            })
            .collect()
    }

    /// Resources that a wait for one depends on, itself first.
    fn reachable(&self, resources: &Resources, resource: &Arc<str>) -> Vec<Arc<str>> {
        let mut found = vec![Arc::clone(resource)];
        let mut seen = BTreeSet::from([Arc::clone(resource)]);
        let mut at = 0;
        while let Some(current) = found.get(at).cloned() {
            at += 1;
            for holder in resources.get(&current).into_iter().flat_map(|resource| resource.holders.keys()) {
                let Some(holder) = self.known.get(holder) else { continue };
                for (next, _) in holder.blocked_by(&current) {
                    if seen.insert(Arc::clone(next)) {
                        found.push(Arc::clone(next));
                    }
                }
            }
        }
        found
    }

    /// Why a wait would never end, if so: the path by which the holder waits for itself. The wait is entered already.
    pub fn deadlock(
        &self,
        resources: &Resources,
        name: &Arc<str>,
        resource: &Arc<str>,
        amount: f64,
    ) -> Option<String> {
        if !self.known.get(name)?.is_entangled() {
            return None; // nobody waits for it
        }
        let reachable = self.reachable(resources, resource);
        let mut free: BTreeMap<&str, f64> = BTreeMap::new();
        let mut stuck: BTreeSet<(&Arc<str>, &Arc<str>)> = BTreeSet::new();
        for name in &reachable {
            let resource = resources.get(name)?;
            free.insert(name, resource.free() + resource.capacity() * 1e-9); // up to the rounding of sums
            stuck.extend(resource.holders.keys().map(|holder| (holder, name)));
        }
        loop {
            let before = stuck.len();
            stuck.retain(|(holder, held)| {
                let Some(known) = self.known.get(*holder) else { return false };
                let goes_on = known
                    .blocked_by(held)
                    .all(|(next, wanted)| free.get(&**next).is_some_and(|free| wanted <= *free));
                if goes_on && let Some(free) = free.get_mut(&***held) {
                    *free += known.stakes.get(*held).map_or(0.0, |stake| stake.granted);
                }
                !goes_on
            });
            if stuck.len() == before {
                break;
            }
        }
        let served = free.get(&**resource).is_some_and(|free| amount <= *free);
        if served { None } else { Some(self.path(&stuck, name, resource)) }
    }

    /// The shortest way from a holder's wait back to it, through those that are stuck.
    fn path(&self, stuck: &BTreeSet<(&Arc<str>, &Arc<str>)>, name: &Arc<str>, resource: &Arc<str>) -> String {
        let mut ways = VecDeque::from([vec![(Arc::clone(name), Arc::clone(resource))]]);
        let mut seen = BTreeSet::new();
        while let Some(way) = ways.pop_front() {
            let Some((_, wanted)) = way.last() else { continue };
            for (holder, _) in stuck.iter().filter(|(_, held)| *held == wanted) {
                if *holder == name {
                    return told(&way, name);
                }
                let Some(known) = self.known.get(*holder) else { continue };
                for (next, _) in known.blocked_by(wanted) {
                    if seen.insert((Arc::clone(holder), Arc::clone(next))) {
                        let mut longer = way.clone();
                        longer.push((Arc::clone(holder), Arc::clone(next)));
                        ways.push_back(longer);
                    }
                }
            }
        }
        format!("those who hold {resource} wait for each other")
    }

    /// The holders that wait for a resource and for whom everyone else who waits for it waits in turn.
    pub fn needed_by(&self, resources: &Resources, resource: &Arc<str>) -> BTreeSet<Arc<str>> {
        let mut needed = BTreeSet::new();
        for name in self.reachable(resources, resource) {
            for holder in resources.get(&name).into_iter().flat_map(|found| found.holders.keys()) {
                let waits = |known: &Holder| known.blocked_by(&name).any(|(next, _)| next == resource);
                if self.known.get(holder).is_some_and(waits) {
                    needed.insert(Arc::clone(holder));
                }
            }
        }
        needed
    }
}

/// `a waits for x held by b, which waits for y held by a`
fn told(way: &[(Arc<str>, Arc<str>)], name: &str) -> String {
    let mut text = String::new();
    for (index, (holder, wanted)) in way.iter().enumerate() {
        let joint = if index == 0 {
            format!("{holder} waits for {wanted}")
        } else {
            format!(" held by {holder}, which waits for {wanted}")
        };
        text.push_str(&joint);
    }
    text + " held by " + name
}
