//! A graph as part of a snapshot.

use symphony_pit::record::{Reader, Writer};
use symphony_pit::{Error, Result};

use super::{Edge, Graph, Node};
use crate::interner::NONE;
use crate::retry::Policy;
use crate::states::StepState;

impl Graph {
    pub fn save(&self, writer: Writer) -> Writer {
        #[expect(clippy::cast_sign_loss, reason = "the bits come back")]
        let writer = writer
            .each(self.keys.since(0), Writer::str)
            .each(self.names.since(0), Writer::str)
            .each(self.policies.iter(), |writer, policy| writer.bytes(&policy.encode()))
            .each(self.edges.iter(), |writer, edge| writer.u32(edge.word).u32(edge.dependent))
            .each(self.added.iter(), |writer, number| {
                let node = self.node(*number);
                let writer = writer.u32(*number).u32(node.first).u32(node.count).u32(node.unmet);
                let writer = writer.u32(node.name).u32(node.policy).u32(node.priority as u32);
                writer.u8(node.state as u8).u8(u8::from(node.hollow) | u8::from(node.unfolded) << 1)
            });
        let times = |writer: Writer, (number, time): (&u32, &i64)| writer.u32(*number).i64(*time);
        writer
            .each(self.delayed.iter(), times)
            .each(self.started.iter(), times)
            .each(self.duplicates.iter(), |writer, number| writer.u32(*number))
            .u8(u8::from(self.forward))
    }

    pub fn load(reader: &mut Reader<'_>) -> Result<Self> {
        let mut graph = Self::default();
        let wrong = || Error::corrupt("a snapshot holds a graph that does not fit together");
        for _ in 0..reader.u32()? {
            graph.keys.intern(reader.str()?).ok_or_else(wrong)?;
        }
        for _ in 0..reader.u32()? {
            graph.names.intern(reader.str()?).ok_or_else(wrong)?;
        }
        graph.policies = reader.each(|reader| Policy::decode(reader.bytes()?))?;
        let pairs = reader.each(|reader| Ok((reader.u32()?, reader.u32()?)))?;
        for (word, dependent) in pairs {
            let at = u32::try_from(graph.edges.len()).map_err(|_| wrong())?;
            if (word >> 2).max(dependent) >= graph.keys.len() {
                return Err(wrong());
            }
            let next = std::mem::replace(&mut graph.keys[word >> 2].dependents, at);
            graph.edges.push(Edge { word, dependent, next });
        }
        for place in 0..reader.u32()? {
            let number = reader.u32()?;
            if number >= graph.keys.len() {
                return Err(wrong());
            }
            let dependents = graph.node(number).dependents;
            let [first, count, unmet, name, policy, priority] =
                [reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?, reader.u32()?];
            let (state, flags) = (StepState::from_code(reader.u8()?)?, reader.u8()?);
            let (hollow, unfolded) = (flags & 1 != 0, flags & 2 != 0);
            #[expect(clippy::cast_possible_wrap, reason = "the bits of an i32")]
            let priority = priority as i32;
            let node = Node {
                place,
                first,
                count,
                unmet,
                dependents,
                name,
                policy,
                priority,
                state,
                hollow,
                unfolded,
            };
            if first as usize + count as usize > graph.edges.len()
                || (name != NONE && name >= graph.names.len())
            {
                return Err(wrong());
            }
            *graph.node_mut(number) = node;
            graph.added.push(number);
            graph.counts[state as usize] += 1;
        }
        let time = |reader: &mut Reader<'_>| Ok((reader.u32()?, reader.i64()?));
        graph.delayed = reader.each(time)?.into_iter().collect();
        graph.started = reader.each(time)?.into_iter().collect();
        graph.duplicates = reader.each(Reader::u32)?;
        graph.forward = reader.u8()? != 0;
        for number in &graph.added {
            let node = graph.node(*number);
            if node.state == StepState::Queued && !graph.delayed.contains_key(number) {
                graph.ready.insert((std::cmp::Reverse(node.priority), node.place));
            }
        }
        graph.settle_texts();
        Ok(graph)
    }
}
