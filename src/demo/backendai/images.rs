//! Images made from sessions. They exist twice: as a row here, and under a tag in the registry;
//! each is removed by a call of its own.

use std::time::Duration;

use super::books::Change;
use super::gate::Caller;
use super::hall::{Id, State};
use super::refusal::{Refusal, no_object};
use super::session::Session;

/// An image that somebody made.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) id: Id,
    pub(super) name: String,
    pub(super) owner: Id,
    /// Nobody sees it before.
    pub(super) ready: Duration,
    /// Whether it is in the registry.
    pub(super) tagged: bool,
    /// Whether there is a row for it.
    pub(super) known: bool,
}

fn no_image() -> Refusal {
    no_object("No such environment image.", "image_read_not-found")
}

impl State {
    /// Begins to make an image of a session; tells the task.
    pub(super) fn imagify(&mut self, session: &Session, name: &str) -> Result<Id, Refusal> {
        let project = self.accounts.projects.get(&session.project);
        if !project.is_some_and(|project| project.has_registry) {
            let why = format!(
                "Container registry info does not exist or is invalid in the project. (project: {})",
                session.project
            );
            let title = "No such container_registry.";
            return Err(no_object(title, "container-registry_read_not-found").said(why));
        }
        let image = Image {
            id: self.new_id(),
            name: name.to_owned(),
            owner: session.owner.user.clone(),
            ready: self.now + self.pace.task,
            tagged: true,
            known: true,
        };
        self.note(Change::Made, "image", name, &image.id);
        self.images.insert(image.id.clone(), image);
        Ok(self.begin_task("Completed"))
    }

    /// The caller's images that are finished.
    pub(super) fn customized_images(&self, caller: &Caller) -> impl Iterator<Item = &Image> {
        let theirs = self
            .images
            .values()
            .filter(|image| image.owner == caller.user);
        theirs.filter(|image| image.known && image.ready <= self.now)
    }

    /// Takes an image out of the registry.
    pub(super) fn untag_image(&mut self, id: &Id) -> Result<(), Refusal> {
        let known = self.images.get_mut(id).filter(|image| image.known);
        known.ok_or_else(no_image)?.tagged = false;
        self.drop_image(id);
        Ok(())
    }

    /// Removes the row of an image; what is in the registry stays there.
    pub(super) fn forget_image(&mut self, id: &Id) -> Result<(), Refusal> {
        let known = self.images.get_mut(id).filter(|image| image.known);
        known.ok_or_else(no_image)?.known = false;
        self.drop_image(id);
        Ok(())
    }

    fn drop_image(&mut self, id: &Id) {
        let is_gone = |image: &Image| !image.tagged && !image.known;
        if let Some(image) = self.images.get(id).filter(|image| is_gone(image)).cloned() {
            self.images.remove(id);
            self.note(Change::Removed, "image", &image.name, id);
        }
    }
}
