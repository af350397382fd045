//! The files of a folder, in memory. Paths are relative to the folder and are looked up exactly.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Bytes;

/// A file, or a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::demo::backendai) struct Node {
    /// A directory has none.
    pub(in crate::demo::backendai) content: Option<Bytes>,
    /// Since the opening.
    pub(in crate::demo::backendai) created: Duration,
    pub(in crate::demo::backendai) modified: Duration,
}

/// All files and directories by their paths.
#[derive(Debug, Clone, Default)]
pub(in crate::demo::backendai) struct Tree(BTreeMap<String, Node>);

/// What the storage would not do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::demo::backendai) enum Unstorable {
    Missing,
    Exists,
    Outside,
}

type Stored<T> = Result<T, Unstorable>;

/// Without leading or trailing parts that mean nothing; nothing above the folder.
pub(in crate::demo::backendai) fn clean(path: &str) -> Stored<String> {
    let parts = path.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts: Vec<_> = parts.collect();
    if parts.contains(&"..") {
        return Err(Unstorable::Outside);
    }
    Ok(parts.join("/"))
}

impl Tree {
    pub(in crate::demo::backendai) fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(&clean(path).ok()?)
    }

    /// How many files and directories, and how many bytes.
    pub(in crate::demo::backendai) fn size(&self) -> (usize, usize) {
        let contents = self.0.values().filter_map(|node| node.content.as_ref());
        (self.0.len(), contents.map(Bytes::len).sum())
    }

    /// What is in a directory, with the names.
    pub(in crate::demo::backendai) fn list(&self, path: &str) -> Stored<Vec<(&str, &Node)>> {
        let path = clean(path)?;
        if !path.is_empty() && self.0.get(&path).is_none_or(|node| node.content.is_some()) {
            return Err(Unstorable::Missing);
        }
        let inside = self.0.iter().filter_map(|(name, node)| {
            let rest = match &*path {
                "" => Some(&**name),
                path => name.strip_prefix(path)?.strip_prefix('/'),
            }?;
            (!rest.contains('/')).then_some((rest, node))
        });
        Ok(inside.collect())
    }

    /// All files below a directory, with their paths from there; `None` if there is no such directory.
    pub(in crate::demo::backendai) fn files_below(
        &self,
        path: &str,
    ) -> Option<Vec<(&str, &Bytes)>> {
        self.list(path).ok()?;
        let path = clean(path).ok()?;
        let inside = self.0.iter().filter_map(|(name, node)| {
            let rest = name.strip_prefix(&path)?;
            let rest = if path.is_empty() {
                rest
            } else {
                rest.strip_prefix('/')?
            };
            Some((rest, node.content.as_ref()?))
        });
        Some(inside.collect())
    }

    fn make_parents(&mut self, path: &str, now: Duration) {
        for (end, _) in path.match_indices('/') {
            self.make(path.get(..end).unwrap_or_default().to_owned(), None, now);
        }
    }

    fn make(&mut self, path: String, content: Option<Bytes>, now: Duration) {
        let node = Node {
            content,
            created: now,
            modified: now,
        };
        self.0.entry(path).or_insert(node);
    }

    /// Makes a directory with those above it.
    pub(in crate::demo::backendai) fn make_directory(
        &mut self,
        path: &str,
        may_exist: bool,
        now: Duration,
    ) -> Stored<()> {
        let path = clean(path)?;
        if !may_exist && self.0.contains_key(&path) {
            return Err(Unstorable::Exists);
        }
        self.make_parents(&path, now);
        self.make(path, None, now);
        Ok(())
    }

    /// Writes a file, instead of one that was there.
    pub(in crate::demo::backendai) fn write(
        &mut self,
        path: &str,
        content: Bytes,
        now: Duration,
    ) -> Stored<()> {
        let path = clean(path)?;
        self.make_parents(&path, now);
        self.0.remove(&path);
        self.make(path, Some(content), now);
        Ok(())
    }

    /// Gives a file or a directory, with all that is in it, another path.
    pub(in crate::demo::backendai) fn move_to(
        &mut self,
        from: &str,
        to: &str,
        now: Duration,
    ) -> Stored<()> {
        let (from, to) = (clean(from)?, clean(to)?);
        let node = self.0.remove(&from).ok_or(Unstorable::Missing)?;
        self.make_parents(&to, now);
        self.0.insert(to.clone(), node);
        for path in self.below(&from) {
            if let Some(node) = self.0.remove(&path) {
                let rest = path.strip_prefix(&from).unwrap_or_default();
                self.0.insert(format!("{to}{rest}"), node);
            }
        }
        Ok(())
    }

    fn below(&self, path: &str) -> Vec<String> {
        let inside = format!("{path}/");
        let all = self.0.keys().filter(|name| name.starts_with(&inside));
        all.cloned().collect()
    }

    /// Removes a file, or a directory if that is wanted; what is not there is not missed.
    pub(in crate::demo::backendai) fn remove(&mut self, path: &str, recursive: bool) -> Stored<()> {
        let path = clean(path)?;
        let is_file = self.0.get(&path).is_some_and(|node| node.content.is_some());
        if is_file || recursive {
            for inner in self.below(&path) {
                self.0.remove(&inner);
            }
            self.0.remove(&path);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    fn names(tree: &Tree, path: &str) -> Vec<String> {
        let found = tree.list(path).unwrap();
        found.into_iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn files_are_written_moved_and_removed() {
        let mut tree = Tree::default();
        tree.write("nested/inner/x.txt", Bytes::from("x"), NOW)
            .unwrap();
        tree.write("one.txt", Bytes::from("one"), NOW).unwrap();
        assert_eq!(names(&tree, "."), ["nested", "one.txt"]);
        assert_eq!(names(&tree, "/nested/"), ["inner"]);
        assert_eq!(tree.list("none"), Err(Unstorable::Missing));
        assert_eq!(tree.list("one.txt"), Err(Unstorable::Missing));
        assert_eq!(tree.list("../x"), Err(Unstorable::Outside));
        assert_eq!(tree.size(), (4, 4));
        let below = tree.files_below("nested").unwrap();
        assert_eq!(below, [("inner/x.txt", &Bytes::from("x"))]);
        assert_eq!(tree.files_below("").unwrap().len(), 2);
        assert_eq!(tree.files_below("one.txt"), None);
        tree.move_to("nested", "moved/there", NOW).unwrap();
        assert_eq!(names(&tree, "moved/there/inner"), ["x.txt"]);
        assert_eq!(tree.move_to("nested", "x", NOW), Err(Unstorable::Missing));
        tree.remove("moved", false).unwrap();
        tree.remove("gone", false).unwrap();
        assert_eq!(names(&tree, ""), ["moved", "one.txt"]);
        tree.remove("moved", true).unwrap();
        assert_eq!(names(&tree, ""), ["one.txt"]);
    }

    #[test]
    fn a_directory_is_made_once() {
        let mut tree = Tree::default();
        assert_eq!(tree.make_directory("a/b", false, NOW), Ok(()));
        assert_eq!(
            tree.make_directory("a/b", false, NOW),
            Err(Unstorable::Exists)
        );
        assert_eq!(tree.make_directory("a/b", true, NOW), Ok(()));
        assert_eq!(names(&tree, "a"), ["b"]);
    }
}
