//! What is alive, and what came and went: the tests judge by these books, not by what a prober says.

use super::StandIn;
use super::folder::Stage;
use super::hall::{Id, State};

/// So many changes are remembered.
const KEPT: usize = 10_000;

/// Something that is there and was not there in the beginning.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `session`, `folder`, `files` (of a folder that was purged too early), `invitation`, `user`,
    /// `project`, `member` (the operator in a project), `template`, `image`, `tag` (of an image, in
    /// the registry), `service`, `login`.
    pub kind: &'static str,
    /// As its maker called it; of an invitation the invitee.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// What happened to an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It came into being.
    Made,
    /// It is no longer there.
    Removed,
}

impl StandIn {
    /// Everything alive, sorted. A user's personal project does not count: like the real one the
    /// stand-in makes it with the user, keeps it for ever, and lets nobody remove it.
    #[must_use]
    pub fn alive(&self) -> Vec<Entry> {
        self.hall.look(|state| state.alive())
    }

    /// What was made and removed, in that order.
    #[must_use]
    pub fn history(&self) -> Vec<(Change, Entry)> {
        self.hall
            .look(|state| state.history.iter().cloned().collect())
    }
}

fn entry(kind: &'static str, name: &str, id: &str) -> Entry {
    Entry {
        kind,
        name: name.to_owned(),
        id: id.to_owned(),
    }
}

impl State {
    /// Writes down a change.
    pub(super) fn note(&mut self, change: Change, kind: &'static str, name: &str, id: &str) {
        if self.history.len() >= KEPT {
            self.history.pop_front();
        }
        self.history.push_back((change, entry(kind, name, id)));
    }

    fn is_new(&self, id: &Id) -> bool {
        !self.seeded.contains(id)
    }

    fn alive(&self) -> Vec<Entry> {
        let mut alive = Vec::new();
        let live = self
            .sessions
            .values()
            .filter(|session| !session.status().is_over());
        alive.extend(live.map(|session| entry("session", &session.name, &session.id)));
        alive.extend(
            self.folders
                .values()
                .map(|folder| entry("folder", &folder.name, &folder.id)),
        );
        alive.extend(
            self.orphans
                .iter()
                .map(|(id, name)| entry("files", name, id)),
        );
        let pending = self.invitations.iter().filter(|(_, invitation)| {
            let folder = self.folders.get(&invitation.folder);
            folder.is_some_and(|folder| folder.stage == Stage::Ready)
        });
        alive.extend(pending.map(|(id, invitation)| entry("invitation", &invitation.invitee, id)));
        let users = self
            .accounts
            .users
            .values()
            .filter(|user| self.is_new(&user.id));
        alive.extend(users.map(|user| entry("user", &user.email, &user.id)));
        for project in self.accounts.projects.values() {
            if project.is_personal() || !self.is_new(&project.id) {
                continue;
            }
            alive.push(entry("project", &project.name, &project.id));
            let operators = project.members.iter().filter(|user| !self.is_new(user));
            alive.extend(operators.map(|_| entry("member", &project.name, &project.id)));
        }
        let templates = self.templates.values();
        alive.extend(templates.map(|template| entry("template", &template.name, &template.id)));
        for image in self.images.values() {
            let (row, tag) = (
                image.known.then_some("image"),
                image.tagged.then_some("tag"),
            );
            let kinds = [row, tag].into_iter().flatten();
            alive.extend(kinds.map(|kind| entry(kind, &image.name, &image.id)));
        }
        let services = self
            .services
            .values()
            .filter(|service| !self.is_destroyed(service));
        alive.extend(services.map(|service| entry("service", &service.name, &service.id)));
        let logins = self.logins.iter().filter(|(_, caller)| caller.is_some());
        alive.extend(logins.map(|(cookie, _)| entry("login", "", cookie)));
        alive.sort();
        alive
    }
}
