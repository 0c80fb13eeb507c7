//! Hands out steps that wait for nothing, drops those that can no longer run; pure.

use std::collections::{BTreeMap, BTreeSet};

/// What is left to do, and what each of it still waits for.
///
/// Knows nothing of what a step is: only keys and arrows.
#[derive(Debug, Clone)]
pub struct Graph<K> {
    waits_for: BTreeMap<K, BTreeSet<K>>,
    /// How many steps, one after another, still come after each.
    heights: BTreeMap<K, usize>,
}

impl<K: Ord + Clone> Graph<K> {
    /// Makes a graph of `(step, what it waits for)`; arrows to steps that are not in it count as
    /// done already.
    pub fn new(steps: impl IntoIterator<Item = (K, Vec<K>)>) -> Self {
        let all: BTreeMap<K, Vec<K>> = steps.into_iter().collect();
        let waits_for: BTreeMap<K, BTreeSet<K>> = all
            .iter()
            .map(|(step, after)| {
                let open = after.iter().filter(|k| all.contains_key(*k) && *k != step);
                (step.clone(), open.cloned().collect())
            })
            .collect();
        let heights = heights(&waits_for);
        Self { waits_for, heights }
    }

    /// Takes out every step that waits for nothing, the one with the longest way to go first: what
    /// runs beside the longest chain must never lengthen it.
    pub fn take_ready(&mut self) -> Vec<K> {
        let mut ready: Vec<K> =
            self.waits_for.iter().filter(|(_, w)| w.is_empty()).map(|(k, _)| k.clone()).collect();
        ready.sort_by_key(|step| std::cmp::Reverse(self.heights.get(step).copied()));
        for step in &ready {
            self.waits_for.remove(step);
        }
        ready
    }

    /// Says that a step that was taken is done: what waited for it waits no longer.
    pub fn done(&mut self, step: &K) {
        for waits in self.waits_for.values_mut() {
            waits.remove(step);
        }
    }

    /// Says that a step that was taken failed; takes out and returns all that needs it, with the
    /// step that each of it lacks.
    pub fn failed(&mut self, step: &K) -> Vec<(K, K)> {
        let mut dropped = Vec::new();
        let mut causes = vec![step.clone()];
        while let Some(cause) = causes.pop() {
            let lost: Vec<K> = self
                .waits_for
                .iter()
                .filter(|(_, waits)| waits.contains(&cause))
                .map(|(k, _)| k.clone())
                .collect();
            for step in lost {
                self.waits_for.remove(&step);
                dropped.push((step.clone(), cause.clone()));
                causes.push(step);
            }
        }
        dropped
    }

    /// Takes out and returns all that was not handed out yet.
    pub fn take_rest(&mut self) -> Vec<K> {
        std::mem::take(&mut self.waits_for).into_keys().collect()
    }

    /// Says whether some steps can never be handed out because they wait for one another, and
    /// which these are.
    #[must_use]
    pub fn cycle(&self) -> Vec<K> {
        let mut rest = self.clone();
        loop {
            let ready = rest.take_ready();
            if ready.is_empty() {
                return rest.take_rest();
            }
            for step in &ready {
                rest.done(step);
            }
        }
    }
}

/// Counts, for each step, the steps of the longest chain that waits for it. Steps of a ring get
/// what was counted before it closed.
fn heights<K: Ord + Clone>(waits_for: &BTreeMap<K, BTreeSet<K>>) -> BTreeMap<K, usize> {
    let mut heights: BTreeMap<K, usize> = waits_for.keys().map(|step| (step.clone(), 0)).collect();
    for _ in 0..waits_for.len() {
        let mut grown = false;
        for (step, waits) in waits_for {
            let least = heights[step] + 1;
            for first in waits {
                let height = heights.get_mut(first).expect("arrows lead to steps of the graph");
                if *height < least && least <= waits_for.len() {
                    *height = least;
                    grown = true;
                }
            }
        }
        if !grown {
            break;
        }
    }
    heights
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diamond() -> Graph<&'static str> {
        Graph::new([
            ("a", vec![]),
            ("b", vec!["a"]),
            ("c", vec!["a", "not in the graph"]),
            ("d", vec!["b", "c"]),
            ("e", vec![]),
        ])
    }

    #[test]
    fn a_step_comes_out_when_all_it_waits_for_is_done() {
        let mut graph = diamond();
        assert_eq!(graph.take_ready(), ["a", "e"]);
        assert!(graph.take_ready().is_empty());
        graph.done(&"a");
        assert_eq!(graph.take_ready(), ["b", "c"]);
        graph.done(&"b");
        assert!(graph.take_ready().is_empty());
        graph.done(&"c");
        assert_eq!(graph.take_ready(), ["d"]);
    }

    #[test]
    fn the_longest_chain_is_begun_first() {
        let mut graph = Graph::new([
            ("a", vec![]),
            ("b", vec![]),
            ("after b", vec!["b"]),
            ("c", vec![]),
            ("after c", vec!["c"]),
            ("after that", vec!["after c"]),
        ]);
        assert_eq!(graph.take_ready(), ["c", "b", "a"]);
    }

    #[test]
    fn a_failure_drops_what_needs_it_and_nothing_else() {
        let mut graph = diamond();
        graph.take_ready();
        graph.done(&"a");
        graph.take_ready();
        assert_eq!(graph.failed(&"b"), [("d", "b")]);
        assert!(graph.take_rest().is_empty());
    }

    #[test]
    fn a_failure_reaches_what_needs_it_from_afar() {
        let mut graph = diamond();
        graph.take_ready();
        let dropped: Vec<_> = graph.failed(&"a").into_iter().map(|(step, _)| step).collect();
        assert_eq!(dropped, ["b", "c", "d"]);
    }

    #[test]
    fn steps_that_wait_for_one_another_are_found() {
        assert!(diamond().cycle().is_empty());
        let ring = Graph::new([("a", vec!["b"]), ("b", vec!["a"]), ("c", vec![])]);
        assert_eq!(ring.cycle(), ["a", "b"]);
    }
}
