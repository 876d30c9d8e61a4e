//! The catalog in one piece: the shortest log that leads to it, and the numbers that no event carries.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Record, Result, Value};

use crate::catalog::Catalog;
use crate::place::Kept;
use crate::records::{Access, Event, Naming, REVISION};

impl Catalog {
    pub fn snapshot(&self) -> Vec<u8> {
        let mut events: Vec<(i64, Event)> = Vec::new();
        for (hash, stored) in self.contents.iter() {
            let (hash, extra) = (*hash, self.extra(hash));
            let Kept { place, size, cold } = stored.kept;
            events.push((stored.created, Event::Stored { hash, size, place }));
            if let Some(bytes) = cold {
                events.push((0, Event::Cooled { hash, place, bytes }));
            }
            if stored.accesses > 0 {
                let access = Access { hash, count: stored.accesses, last: stored.last_access };
                events.push((0, Event::Accessed { accesses: vec![access] }));
            }
            if !extra.tags.is_empty() {
                let added = extra.tags.iter().cloned().collect();
                events.push((0, Event::Tagged { hash, added, removed: Vec::new() }));
            }
            if extra.mark.is_some() {
                events.push((0, Event::Marked { hash, value: extra.mark }));
            }
            if extra.metadata != Value::None {
                events.push((0, Event::Annotated { hash, metadata: extra.metadata.clone() }));
            }
            if let Some(folder) = &extra.archived {
                events.push((0, Event::Archived { hash, folder: folder.clone() }));
            }
            if let Some((reason, time)) = &extra.trash {
                events.push((*time, Event::Trashed { hashes: vec![hash], reason: reason.clone() }));
            }
            for (step, inputs) in &extra.made {
                events.push((0, Event::Made { hash, step: step.clone(), inputs: inputs.clone() }));
            }
        }
        let numbers: Vec<(&str, u32)> =
            self.names.iter().flat_map(|(name, all)| all.iter().map(move |v| (&**name, v.number))).collect();
        for (name, version) in self.names.iter().flat_map(|(name, all)| all.iter().map(move |v| (name, v))) {
            let naming = Naming { name: name.to_string(), ..version.naming.clone() };
            events.push((version.created, Event::Named(naming)));
        }
        Writer::default()
            .each(events.iter(), |writer, (time, event)| {
                writer.i64(*time).u32(event.kind().into()).bytes(&event.encode())
            })
            .each(numbers.into_iter(), |writer, (name, number)| writer.str(name).u32(number))
            .each(self.packs.iter(), |writer, (pack, (all, dead))| writer.u32(*pack).u64(*all).u64(*dead))
            .u64(self.changes)
            .finish()
    }

    pub fn restore(&mut self, snapshot: &[u8]) -> Result<()> {
        let mut reader = Reader::new(snapshot);
        let events = reader.each(|reader| Ok((reader.i64()?, reader.u32()?, reader.bytes()?)))?;
        for (time, kind, payload) in events {
            let kind = u16::try_from(kind).unwrap_or(u16::MAX);
            self.apply(
                Event::decode(&Record { position: 0, time, kind, revision: REVISION, payload })?,
                time,
            );
        }
        let numbers = reader.each(|reader| Ok((reader.str()?, reader.u32()?)))?;
        for (version, (_, number)) in self.names.values_mut().flatten().zip(numbers) {
            version.number = number;
        }
        let packs = reader.each(|reader| Ok((reader.u32()?, (reader.u64()?, reader.u64()?))))?;
        self.packs = packs.into_iter().collect();
        self.changes = reader.u64()?;
        self.left.clear(); // by the detour that the events took
        Ok(())
    }
}
