//! The name that was meant by one that does not exist.

/// A hint naming the closest of the known names, if one is close.
pub(super) fn did_you_mean<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<String> {
    const LONGEST: usize = 64; // what is longer is no slip, and the comparison takes its square
    let given: Vec<char> = name.to_lowercase().chars().take(LONGEST).collect();
    let near = known.map(|known| (distance(&given, &known.chars().collect::<Vec<_>>()), known));
    let (slips, best) = near.min_by_key(|(slips, _)| *slips)?;
    (slips * 3 <= best.len().max(3)).then(|| format!("did you mean {best}?"))
}

/// Letters to add, to drop, to replace, or to swap with their neighbour.
fn distance(one: &[char], other: &[char]) -> usize {
    let mut rows = vec![(0..=other.len()).collect::<Vec<_>>()];
    for (at, letter) in one.iter().enumerate() {
        let mut row = vec![at + 1];
        for (to, known) in other.iter().enumerate() {
            let replaced = rows[at][to] + usize::from(letter != known);
            let swapped = (at > 0 && to > 0 && one[at - 1] == *known && other[to - 1] == *letter)
                .then(|| rows[at - 1][to - 1] + 1);
            let best = replaced.min(rows[at][to + 1] + 1).min(row[to] + 1);
            row.push(swapped.map_or(best, |swapped| swapped.min(best)));
        }
        rows.push(row);
    }
    rows[one.len()][other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_understood_and_strangers_are_not() {
        let meant = |name| did_you_mean(name, ["run", "workflow", "runs.list"].into_iter());
        assert_eq!(meant("rnu").as_deref(), Some("did you mean run?"));
        assert_eq!(meant("WorkFlows").as_deref(), Some("did you mean workflow?"));
        assert_eq!(meant("run.lst").as_deref(), Some("did you mean runs.list?"));
        assert_eq!(meant("artifact"), None);
        assert_eq!(meant(&"runs".repeat(1 << 20)), None);
    }
}
