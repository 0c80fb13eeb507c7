//! A table that remembers for a while what it was: reads of AWS lag behind writes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Moment;

/// How long it is remembered what was; no read lags longer.
pub(super) const MEMORY: Duration = Duration::from_mins(1);

/// Objects by id, each as it was at any moment of the last minute.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Table<T>(BTreeMap<String, Versions<T>>);

/// What an object was, the earliest first; `None`: there was none. Never empty.
type Versions<T> = Vec<(Moment, Option<T>)>;

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Clone> Table<T> {
    /// Returns an object as it is now.
    pub(super) fn now(&self, id: &str) -> Option<&T> {
        self.0.get(id)?.last()?.1.as_ref()
    }

    /// Returns an object as it was.
    pub(super) fn at(&self, id: &str, moment: Moment) -> Option<&T> {
        version(self.0.get(id)?, moment)
    }

    /// Returns all objects as they are now.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &T)> {
        self.0.iter().filter_map(|(id, all)| Some((id, all.last()?.1.as_ref()?)))
    }

    /// Returns the id of an object of which something is true now.
    pub(super) fn find(&self, is_it: impl Fn(&T) -> bool) -> Option<String> {
        self.all().find(|(_, object)| is_it(object)).map(|(id, _)| id.clone())
    }

    /// Returns the ids of all objects of which something is true now.
    pub(super) fn ids(&self, are_it: impl Fn(&T) -> bool) -> Vec<String> {
        self.all().filter(|(_, object)| are_it(object)).map(|(id, _)| id.clone()).collect()
    }

    /// Counts the objects of which something is true now.
    pub(super) fn count(&self, are_it: impl Fn(&T) -> bool) -> usize {
        self.all().filter(|(_, object)| are_it(object)).count()
    }

    /// Returns all objects as they were.
    pub(super) fn all_at(&self, moment: Moment) -> impl Iterator<Item = (&String, &T)> {
        self.after("", moment)
    }

    /// Returns the objects whose ids come after one, as they were.
    pub(super) fn after(&self, id: &str, moment: Moment) -> impl Iterator<Item = (&String, &T)> {
        let rest = self.0.range::<str, _>((Bound::Excluded(id), Bound::Unbounded));
        rest.filter_map(move |(id, all)| Some((id, version(all, moment)?)))
    }

    /// Puts an object in.
    pub(super) fn put(&mut self, id: &str, now: Moment, object: T) {
        self.add(id, now, Some(object));
    }

    /// Changes an object that is there.
    pub(super) fn change(&mut self, id: &str, now: Moment, change: impl FnOnce(&mut T)) {
        if let Some(mut object) = self.now(id).cloned() {
            change(&mut object);
            self.add(id, now, Some(object));
        }
    }

    /// Takes an object out.
    pub(super) fn remove(&mut self, id: &str, now: Moment) {
        if self.now(id).is_some() {
            self.add(id, now, None);
        }
    }

    fn add(&mut self, id: &str, now: Moment, object: Option<T>) {
        let all = self.0.entry(id.to_owned()).or_default();
        // Most have one version: a fleet's region is large.
        all.reserve_exact(1);
        all.push((now, object));
        // What is older than the memory counts only as what was before it.
        let old = now.before(MEMORY);
        let first = all.iter().rposition(|(at, _)| *at <= old).unwrap_or(0);
        all.drain(..first);
    }
}

fn version<T>(all: &Versions<T>, moment: Moment) -> Option<&T> {
    all.iter().rev().find(|(at, _)| *at <= moment)?.1.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_sees_what_was_at_its_moment() {
        let second = Duration::from_secs(1);
        let begin = Moment::EARLIEST.after(MEMORY);
        let mut table = Table::default();
        table.put("a", begin, 1);
        table.change("a", begin.after(2 * second), |n| *n = 2);
        table.remove("a", begin.after(4 * second));
        let seen = |after| table.at("a", begin.after(after * second)).copied();
        assert_eq!([seen(0), seen(1), seen(2), seen(4)], [Some(1), Some(1), Some(2), None]);
        assert_eq!(table.at("a", begin.before(second)), None);
        assert_eq!(table.now("a"), None);
    }

    #[test]
    fn what_is_older_than_the_memory_is_forgotten() {
        let mut table = Table::default();
        let mut now = Moment::EARLIEST.after(MEMORY);
        for n in 0..1000 {
            table.put("a", now, n);
            now = now.after(Duration::from_secs(1));
        }
        assert!(table.0["a"].len() <= 62);
        assert_eq!(table.now("a"), Some(&999));
    }
}
