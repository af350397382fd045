//! Users, their key pairs, and the projects that they are in. How GraphQL shows them is in `graphql`.

use std::collections::{BTreeMap, BTreeSet};

use super::Setup;
use super::books::Change;
use super::folder::Owner;
use super::gate::Caller;
use super::hall::{Id, State};
use super::refusal::{Refusal, no_entity, no_project, schema, unauthorized};
use axum::http::StatusCode;

/// The only domain.
pub(super) const DOMAIN: &str = "default";
/// The project in which everybody may be.
pub(super) const PROJECT: &str = "default";

/// So many personal projects outlive their users.
const KEPT_PROJECTS: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Superadmin,
    User,
}

impl Role {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Superadmin => "superadmin",
            Self::User => "user",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProjectKind {
    General,
    ModelStore,
    /// Comes into being with a user.
    Personal,
}

impl ProjectKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::General => "GENERAL",
            Self::ModelStore => "MODEL_STORE",
            Self::Personal => "PERSONAL",
        }
    }
}

/// A project, which older parts of the API call a group.
#[derive(Debug, Clone)]
pub(super) struct Project {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) kind: ProjectKind,
    pub(super) active: bool,
    /// Whether folders may be made in it.
    pub(super) has_storage: bool,
    pub(super) has_registry: bool,
    pub(super) members: BTreeSet<Id>,
}

#[derive(Debug, Clone)]
pub(super) struct User {
    pub(super) id: Id,
    pub(super) email: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) role: Role,
    pub(super) deleted: bool,
}

#[derive(Debug, Clone)]
pub(super) struct KeyPair {
    pub(super) access_key: String,
    pub(super) secret_key: String,
    pub(super) user: Id,
}

/// Everybody and every project.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    pub(super) projects: BTreeMap<Id, Project>,
    pub(super) users: BTreeMap<Id, User>,
    pub(super) keys: Vec<KeyPair>,
}

impl Project {
    pub(super) fn is_personal(&self) -> bool {
        self.kind == ProjectKind::Personal
    }
}

impl Accounts {
    pub(super) fn key(&self, access_key: &str) -> Option<&KeyPair> {
        self.keys.iter().find(|key| key.access_key == access_key)
    }

    /// Whom a key pair stands for.
    pub(super) fn caller(&self, access_key: &str) -> Result<Caller, Refusal> {
        let user = self
            .key(access_key)
            .and_then(|key| self.users.get(&key.user));
        let user = user.ok_or_else(|| unauthorized("Access key not found in HMAC"))?;
        if user.deleted {
            return Err(unauthorized("User account is deleted"));
        }
        Ok(Caller {
            user: user.id.clone(),
            email: user.email.clone(),
            access_key: access_key.to_owned(),
            role: user.role,
        })
    }

    pub(super) fn user(&self, email: &str) -> Option<&User> {
        self.users.values().find(|user| user.email == email)
    }

    pub(super) fn keys_of(&self, user: &Id) -> impl Iterator<Item = &KeyPair> {
        self.keys.iter().filter(move |key| key.user == *user)
    }

    pub(super) fn project(&self, name: &str) -> Option<&Project> {
        self.projects.values().find(|project| project.name == name)
    }

    pub(super) fn projects_of(&self, user: &Id) -> impl Iterator<Item = &Project> {
        let all = self.projects.values();
        all.filter(move |project| project.members.contains(user))
    }

    /// The project in which `user` may start something.
    pub(super) fn joined(&self, user: &Id, name: &str) -> Result<&Project, Refusal> {
        let project = self
            .project(name)
            .ok_or_else(|| no_entity("project_read_not-found", "ProjectRow"))?;
        if project.active && project.members.contains(user) {
            return Ok(project);
        }
        Err(super::refusal::invalid(format!(
            "Invalid group ({name}): the group does not exist, is inactive, or the user is not a member."
        )))
    }
}

fn no_user(email: &str) -> Refusal {
    Refusal::new(
        StatusCode::NOT_FOUND,
        "user-not-found",
        "The user does not exist.",
        "user_read_not-found",
    )
    .said(format!("User with email {email} not found."))
}

fn purge_conflict(title: &'static str, msg: String) -> Refusal {
    Refusal::new(
        StatusCode::CONFLICT,
        "project-purge-conflict",
        title,
        "project_purge_conflict",
    )
    .said(msg)
}

/// A user as somebody asks for one.
#[derive(Debug, Clone)]
pub(super) struct NewUser {
    pub(super) email: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) projects: Vec<Id>,
}

impl State {
    /// What is there before anybody asks for anything.
    pub(super) fn settle_in(&mut self, setup: &Setup) {
        for (name, kind) in [
            (PROJECT, ProjectKind::General),
            ("model-store", ProjectKind::ModelStore),
        ] {
            self.add_project(name, kind, true);
        }
        let admin = NewUser {
            email: setup.email.clone(),
            username: "operator".into(),
            password: setup.password.clone(),
            projects: Vec::new(),
        };
        let id = self.add_user(admin, Role::Superadmin);
        self.accounts.keys.push(KeyPair {
            access_key: setup.access_key.clone(),
            secret_key: setup.secret_key.clone(),
            user: id.clone(),
        });
        for project in self.accounts.projects.values_mut() {
            project.members.insert(id.clone());
        }
        self.seeded = self.accounts.projects.keys().cloned().collect();
        self.seeded.insert(id);
    }

    pub(super) fn add_registry(&mut self) {
        let mut projects = self.accounts.projects.values_mut();
        if let Some(project) = projects.find(|project| project.name == PROJECT) {
            project.has_registry = true;
        }
    }

    fn add_project(&mut self, name: &str, kind: ProjectKind, has_storage: bool) -> Id {
        let id = self.new_id();
        let project = Project {
            id: id.clone(),
            name: name.to_owned(),
            kind,
            active: true,
            has_storage,
            has_registry: false,
            members: BTreeSet::new(),
        };
        self.accounts.projects.insert(id.clone(), project);
        id
    }

    pub(super) fn create_project(
        &mut self,
        name: &str,
        domain: &str,
        has_storage: bool,
    ) -> Result<Id, Refusal> {
        if domain != DOMAIN {
            return Err(no_entity("domain_read_not-found", "DomainRow"));
        }
        if self.accounts.project(name).is_some() {
            let why = format!("Group with name '{name}' already exists in domain '{domain}'");
            return Err(schema("", "").said(why));
        }
        let id = self.add_project(name, ProjectKind::General, has_storage);
        self.note(Change::Made, "project", name, &id);
        Ok(id)
    }

    /// Lets users into a project, or out of it.
    pub(super) fn change_members(
        &mut self,
        project: &Id,
        users: &[Id],
        join: bool,
    ) -> Result<(), Refusal> {
        let found = self.accounts.projects.get_mut(project);
        let found = found.ok_or_else(|| no_project(format!("Project not found: {project}")))?;
        for user in users {
            if join {
                found.members.insert(user.clone());
            } else {
                found.members.remove(user);
            }
        }
        Ok(())
    }

    /// Makes a project inactive.
    pub(super) fn delete_project(&mut self, id: &Id) -> Result<(), Refusal> {
        let project = self.accounts.projects.get_mut(id).ok_or_else(|| {
            no_entity("project_update_not-found", "ProjectRow")
                .said(format!("ProjectRow {id} not found"))
        })?;
        if project.is_personal() {
            return Err(purge_conflict(
                "Personal project is removed with its user, not on its own.",
                format!("Project {id} is a personal project."),
            ));
        }
        project.active = false;
        Ok(())
    }

    /// Removes a project with its sessions that never came to an agent.
    pub(super) fn purge_project(&mut self, id: &Id) -> Result<(), Refusal> {
        let project = self.accounts.projects.get(id);
        let project = project.ok_or_else(|| no_project("project not found"))?;
        if project.kind == ProjectKind::Personal {
            return Err(purge_conflict(
                "Personal project is removed with its user, not on its own.",
                format!("Personal project is purged with its user: {id}"),
            ));
        }
        let theirs = |session: &&super::session::Session| session.project == *id;
        if self
            .sessions
            .values()
            .filter(theirs)
            .any(|session| session.status().holds_agent())
        {
            return Err(purge_conflict(
                "Project has active kernels.",
                format!("error on deleting project {id} with active kernels"),
            ));
        }
        let mut services = self
            .services
            .values()
            .filter(|service| service.project == *id);
        if services.any(|service| !self.is_destroyed(service)) {
            let why = format!("project {id} has active endpoints");
            return Err(purge_conflict("Project has active endpoints.", why));
        }
        let name = project.name.clone();
        self.note(Change::Removed, "project", &name, id);
        self.services.retain(|_, service| service.project != *id);
        self.sessions.retain(|_, session| session.project != *id);
        self.delete_folders_of(&Owner::Project(id.clone()));
        self.accounts.projects.remove(id);
        Ok(())
    }

    fn add_user(&mut self, new: NewUser, role: Role) -> Id {
        let id = self.new_id();
        // One of a user who was purged may still have the name.
        let mut name = new.username.clone();
        for number in 2.. {
            if self.accounts.project(&name).is_none() {
                break;
            }
            name = format!("{}-{number}", new.username);
        }
        let personal = self.add_project(&name, ProjectKind::Personal, true);
        let user = User {
            id: id.clone(),
            email: new.email,
            username: new.username,
            password: new.password,
            role,
            deleted: false,
        };
        self.accounts.users.insert(id.clone(), user);
        for project in self.accounts.projects.values_mut() {
            let joins = project.id == personal
                || project.kind == ProjectKind::ModelStore
                || new.projects.contains(&project.id);
            if joins {
                project.members.insert(id.clone());
            }
        }
        id
    }

    /// A user with a key pair of their own.
    pub(super) fn create_user(&mut self, new: NewUser) -> Result<(Id, KeyPair), Refusal> {
        let (email, username) = (&new.email, &new.username);
        let mut users = self.accounts.users.values();
        if users.any(|user| user.email == *email || user.username == *username) {
            let why = format!("User with email {email} or username {username} already exists.");
            return Err(Refusal::new(
                StatusCode::CONFLICT,
                "user-already-exists",
                "The user already exists.",
                "user_create_conflict",
            )
            .said(why));
        }
        let email = email.clone();
        let user = self.add_user(new, Role::User);
        let key = KeyPair {
            access_key: format!("AKIA{}", self.new_word(16)),
            secret_key: self.new_word(40),
            user: user.clone(),
        };
        self.accounts.keys.push(key.clone());
        self.note(Change::Made, "user", &email, &user);
        Ok((user, key))
    }

    /// Locks a user out.
    pub(super) fn delete_user(&mut self, email: &str) -> Result<(), Refusal> {
        let mut users = self.accounts.users.values_mut();
        let user = users.find(|user| user.email == email);
        user.ok_or_else(|| no_user(email))?.deleted = true;
        Ok(())
    }

    /// Keeps some of the personal projects whose users are gone, so that a demo can go on for months.
    fn forget_projects(&mut self) {
        let dangling = self.accounts.projects.values();
        let dangling =
            dangling.filter(|project| project.is_personal() && project.members.is_empty());
        let dangling: Vec<Id> = dangling.map(|project| project.id.clone()).collect();
        for id in dangling.iter().skip(KEPT_PROJECTS) {
            self.accounts.projects.remove(id);
        }
    }

    /// Removes a user with their folders. As in the real one their personal project stays, with
    /// nobody in it, and so do their sessions.
    pub(super) fn purge_user(&mut self, email: &str) -> Result<(), Refusal> {
        let user = self.accounts.user(email).ok_or_else(|| no_user(email))?;
        let id = user.id.clone();
        self.note(Change::Removed, "user", email, &id);
        self.accounts.users.remove(&id);
        self.delete_folders_of(&Owner::User(id.clone()));
        self.accounts.keys.retain(|key| key.user != id);
        for project in self.accounts.projects.values_mut() {
            project.members.remove(&id);
        }
        self.forget_projects();
        Ok(())
    }
}
