//! What the original tester did wrong, and testerd does not. The numbers are those of the table in
//! `docs/backendai.md`. What has nothing to do with a cluster is tested where it belongs.

use std::time::Duration;

use futures_util::future::join_all;
use testerd::demo::backendai::Setup;
use tokio::time::sleep;

use super::clock;
use super::cluster::{Cluster, changes};
use super::site::{Site, Told};
use super::verdicts::in_session;
use crate::rig::Fault;
use crate::unwind::World;

/// Runs a spec on a cluster that is well, and leaves it clean.
async fn run(name: &str, specs: &str) -> (Site, Told) {
    let site = Site::open().await;
    let told = site.run(&site.spec(name, specs)).await;
    site.assert_clean().await;
    (site, told)
}

async fn passes(name: &str, specs: &str) -> Site {
    let (site, told) = run(name, specs).await;
    assert_eq!(told.ended(), "pass", "{name}: {}", told.story);
    site
}

/// A kind of request whose fault makes a spec fail at a step, with this reason.
async fn fails(name: &str, (kind, nth, fault): (&str, usize, Fault), ended: &str) -> Told {
    let site = Site::open().await;
    let spec = site.spec(name, "");
    site.cluster.fail_once(kind, nth, fault);
    let told = site.run(&spec).await;
    assert_eq!(told.ended(), ended, "{name}: {}", told.story);
    assert_eq!(site.sweep(&spec).await, [], "{name}");
    site.assert_clean().await;
    told
}

const INTERACTIVE: &str = "single_node_single_container_creation_interactive_session_success";
const EXECUTE: &str =
    "single_node_single_container_execution_command_on_interactive_session_success";
const RENAME: &str = "single_node_single_container_session_rename_success";
const DUPLICATE: &str = "single_node_single_container_session_rename_fail_duplicated_name";

// B5
#[test]
fn a_session_that_never_starts_is_given_up_and_removed() {
    clock::run(async {
        // It stays where it is for an hour.
        let slow = |setup: &mut Setup| {
            setup.pace.state = Duration::from_secs(3600);
        };
        let site = Site::with(Cluster::open(slow)).await;
        let told = site.run(&site.spec(INTERACTIVE, "")).await;
        assert_eq!(told.ended(), "fail timeout in body started");
        assert!(
            told.message().contains("the session is PENDING"),
            "{}",
            told.message()
        );
        site.assert_clean().await;
    });
}

// B5
#[test]
fn a_task_that_never_ends_is_given_up() {
    clock::run(async {
        let slow = |setup: &mut Setup| {
            setup.pace.task = Duration::from_secs(86_400);
        };
        let site = Site::with(Cluster::open(slow)).await;
        let name = "single_node_single_container_commit_interactive_session_success";
        let told = site.run(&site.spec(name, "")).await;
        assert_eq!(told.ended(), "fail timeout in body committed");
        site.assert_clean().await;
    });
}

// B11
#[test]
fn a_service_is_made_in_the_project_that_it_is_told() {
    clock::run(async {
        let name = "purge_group_fail_remaining_active_endpoint_exist";
        let site = passes(name, "").await;
        // It would have been purged if the service stood somewhere else.
        assert_eq!(site.cluster.seen("mutation purge_group").len(), 2);
    });
}

// B14
#[test]
fn a_login_is_used_and_ended_and_belongs_to_its_run() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("login", "");
        // Two at once do not use each other's cookie.
        let both = join_all([1, 2].map(|nth| site.run_nth(&spec, nth))).await;
        for told in both {
            assert_eq!(told.ended(), "pass", "{}", told.story);
        }
        assert_eq!(site.cluster.seen("GET /func/auth/role").len(), 4);
        site.assert_clean().await;
        site.cluster
            .fail_once("GET /func/auth/role", 0, Fault::FailBeforeEffect(401));
        let told = site.run_nth(&spec, 3).await;
        assert_eq!(told.ended(), "fail auth in body known-to-manager");
        // Who is in logs out all the same.
        site.assert_clean().await;
    });
}

// B15
#[test]
fn a_session_that_lost_its_name_is_removed() {
    clock::run(async {
        for fault in [Fault::FailBeforeEffect(500), Fault::Hang] {
            let site = Site::open().await;
            let spec = site.spec(RENAME, "");
            site.cluster
                .fail_once("POST /session/{id}/rename", 1, fault);
            let told = site.run(&spec).await;
            assert!(
                told.ended().ends_with("in body rename-back"),
                "{}",
                told.story
            );
            // By the run itself, before any sweep.
            site.assert_clean().await;
        }
    });
}

// B16
#[test]
fn events_are_asked_for_when_there_is_a_session() {
    clock::run(async {
        let site = passes(INTERACTIVE, "").await;
        let log = site.cluster.log();
        let place = |kind: &str| log.iter().position(|one| one == kind).unwrap();
        assert!(place("POST /session") < place("GET /events/session"));
    });
}

// B17
#[test]
fn a_stream_that_ends_is_no_event() {
    const GOODBYE: &str = "event: server_close\r\ndata: {}\r\n\r\n";
    const NOTHING: &str = ": ping\r\n\r\n";
    clock::run(async {
        for said in [GOODBYE, NOTHING] {
            let site = Site::open().await;
            let name = "single_node_single_container_commit_interactive_session_success";
            let spec = site.spec(name, "");
            let stream = "GET /events/background-task";
            site.cluster.fail(stream, Fault::FalseStream(said));
            let told = site.run_nth(&spec, 1).await;
            assert_eq!(told.ended(), "fail timeout in body committed");
            assert!(site.cluster.seen(stream).len() > 10, "it was asked again");
            site.cluster.heal();
            site.cluster.fail_once(stream, 0, Fault::FalseStream(said));
            let told = site.run_nth(&spec, 2).await;
            assert_eq!(told.ended(), "pass", "{}", told.story);
            site.assert_clean().await;
        }
    });
}

// B18
#[test]
fn what_must_be_refused_and_is_not_fails() {
    let accepted = Fault::FailBeforeEffect(200);
    let allowed = Fault::FalseBody(r#"{"data":{"purge_group":{"ok":true,"msg":"success"}}}"#);
    let invite = "POST /folders/{id}/invite";
    let accept = "POST /folders/invitations/accept";
    let purge = "mutation purge_group";
    clock::run(async {
        for (name, forbidden, ended) in [
            (
                DUPLICATE,
                ("POST /session/{id}/rename", 0, accepted),
                "fail status in body rename",
            ),
            (
                "invite_vfolder_failure_duplicated_invitation",
                (invite, 1, accepted),
                "fail status in body invite-again",
            ),
            (
                "invite_vfolder_failure_duplicated_accept",
                (accept, 1, accepted),
                "fail status in body accept-again",
            ),
            (
                "invite_vfolder_failure_reject",
                (accept, 0, accepted),
                "fail status in body accept-too-late",
            ),
            (
                "purge_group_fail_remaining_active_session_exist",
                (purge, 0, allowed),
                "fail assertion in body purge",
            ),
            (
                "purge_group_fail_remaining_active_endpoint_exist",
                (purge, 0, allowed),
                "fail assertion in body purge",
            ),
            (
                "replicas_scale_failure_too_many_sessions",
                ("POST /services/{id}/scale", 0, accepted),
                "fail status in body scale",
            ),
            (
                "vfolder_purge",
                ("POST /folders/purge", 0, accepted),
                "fail status in body purge-too-early",
            ),
        ] {
            fails(name, forbidden, ended).await;
        }
    });
}

// B18
#[test]
fn what_must_be_refused_is_refused_for_the_right_reason() {
    let broken = Fault::FailBeforeEffect(500);
    let bad = Fault::FailBeforeEffect(400);
    let too_many = "creation_interactive_session_failure_too_many_container_count";
    clock::run(async {
        for (name, kind, nth, fault, ended) in [
            (
                DUPLICATE,
                "POST /session/{id}/rename",
                0,
                broken,
                "fail status in body rename",
            ),
            // Some other mistake is not the one that is looked for.
            (
                DUPLICATE,
                "POST /session/{id}/rename",
                0,
                bad,
                "fail assertion in body rename",
            ),
            (
                too_many,
                "POST /session",
                0,
                broken,
                "fail status in body session",
            ),
            (
                too_many,
                "POST /session",
                0,
                bad,
                "fail assertion in body session",
            ),
            (
                "purge_group_fail_remaining_active_session_exist",
                "mutation purge_group",
                0,
                broken,
                "fail status in body purge",
            ),
        ] {
            fails(name, (kind, nth, fault), ended).await;
        }
    });
}

// B18: a session that should have been refused.
#[test]
fn what_was_made_instead_of_refused_is_removed() {
    let keys = "wrap = []\n";
    let steps = r#"
[[spec.steps]]
name = "allowed"
use = "backendai.session"
image = "${image}"
resources = "${resources}"
expect_refused = { status = 400 }
"#;
    let spec = in_session(keys, "").replace(super::verdicts::STARTED, steps);
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("own", &spec);
        let told = site.run(&spec).await;
        assert_eq!(
            told.ended(),
            "fail assertion in body allowed",
            "{}",
            told.story
        );
        assert_eq!(site.sweep(&spec).await, []);
        site.assert_clean().await;
    });
}

// B19
#[test]
fn a_session_that_nobody_can_hold_does_not_stay_in_the_queue() {
    clock::run(async {
        passes("creation_interactive_session_failure_schedule_timeout", "").await;
    });
}

// B19
#[test]
fn the_files_of_a_folder_go_before_its_record() {
    clock::run(async {
        let site = passes("clone_vfolder", "").await;
        let log = site.cluster.log();
        let removals = log.iter().filter(|kind| {
            let ends = ["/folders", "/delete-from-trash-bin", "/purge"];
            changes(kind) && **kind != "POST /folders" && ends.iter().any(|end| kind.ends_with(end))
        });
        let one = [
            "DELETE /folders",
            "POST /folders/delete-from-trash-bin",
            "POST /folders/purge",
        ];
        let both = [one, one].concat();
        assert_eq!(
            removals.collect::<Vec<_>>(),
            both,
            "the clone's and the source's"
        );
    });
}

// B19
#[test]
fn a_clone_is_removed_whatever_is_wrong_with_it() {
    clock::run(async {
        let listed = (
            "GET /folders/{id}/files",
            0,
            Fault::FalseBody(r#"{"items":[]}"#),
        );
        fails("clone_vfolder", listed, "fail assertion in body list").await;
    });
}

// B20
#[test]
fn a_project_that_is_not_made_says_why() {
    clock::run(async {
        let refused = Fault::FalseBody(
            r#"{"data":{"create_group":{"ok":false,"msg":"the policy forbids it"}}}"#,
        );
        let made = ("mutation create_group", 0, refused);
        let told = fails(
            "purge_group_success",
            made,
            "fail assertion in setup project",
        )
        .await;
        assert!(
            told.message().contains("the policy forbids it"),
            "{}",
            told.message()
        );
    });
}

// B20
#[test]
fn a_project_that_cannot_be_purged_yet_is_purged_later() {
    clock::run(async {
        let site = Site::open().await;
        let spec = site.spec("purge_group_fail_remaining_active_session_exist", "");
        let purge = "mutation purge_group";
        let trouble = async {
            site.cluster.comes(purge).await;
            // From the teardown on.
            site.cluster.fail(purge, Fault::FailBeforeEffect(500));
            site.cluster.comes(purge).await;
            sleep(Duration::from_secs(3)).await;
            site.cluster.heal();
        };
        let (told, ()) = tokio::join!(site.run(&spec), trouble);
        assert_eq!(told.ended(), "pass", "{}", told.story);
        assert!(site.cluster.seen(purge).len() > 3, "it was tried again");
        site.assert_clean().await;
    });
}

// B21
#[test]
fn memberships_that_change_at_the_same_time_do_not_undo_each_other() {
    clock::run(async {
        let site = Site::open().await;
        let names = [
            "session_in_deactivated_group_failure",
            "purge_group_fail_remaining_active_session_exist",
        ];
        let plan = site.plan(&names, "");
        let plan: Vec<_> = plan
            .iter()
            .filter(|spec| names.contains(&&*spec.info.identity.spec))
            .collect();
        let many = (0..12).map(|nth| site.run_nth(plan[nth % plan.len()], nth));
        for told in join_all(many).await {
            assert_eq!(told.ended(), "pass", "{}", told.story);
        }
        site.assert_clean().await;
    });
}

// B22
#[test]
fn a_batch_session_may_take_its_time() {
    clock::run(async {
        let name = "single_node_single_container_creation_batch_session_success";
        let slow = format!(
            "[[spec]]\nname = \"own\"\nlike = \"{name}\"\n\
             [spec.params]\nstartup_command = {{ default = \"sleep 20\" }}\n"
        );
        passes("own", &slow).await;
    });
}

// B23
#[test]
fn output_that_comes_in_pieces_is_put_together() {
    let step = |name: &str, via: &str| {
        format!(
            r#"
[[spec.steps]]
name = "{name}"
use = "backendai.execute"
session = "${{session.id}}"
via = "{via}"
code = "import time; print('one'); time.sleep(5); print('two'); time.sleep(5); print('three')"
stdout = "one\ntwo\nthree\n"
"#
        )
    };
    let steps = step("by-rest", "rest") + &step("by-websocket", "websocket");
    clock::run(async {
        let site = passes("own", &in_session("", &steps)).await;
        let answers = site.cluster.seen("POST /session/{id}");
        assert!(answers.len() > 2, "{answers:?}");
    });
}

// B26h: the manager knows a run that goes on by `run_id` only.
#[test]
fn code_that_goes_on_is_asked_for_by_its_run() {
    clock::run(async {
        for variant in ["print", "arithmetic"] {
            let site = Site::open().await;
            let mut plan = site.plan(&[EXECUTE], "");
            plan.retain(|spec| spec.info.identity.variant == variant);
            let told = site.run(&plan[0]).await;
            assert_eq!(told.ended(), "pass", "{}", told.story);
        }
    });
}

// B26: the stand-in refuses what line 26 refuses, and answers as it does.
#[test]
fn the_calls_are_those_of_line_26() {
    clock::run(async {
        for (bug, name) in [
            (
                "a: the reason of a graceful end",
                "single_node_single_container_creation_batch_session_success",
            ),
            ("b: a folder's project by its id", "list_files"),
            ("c: rename reads a body", RENAME),
            (
                "d: a bare status history",
                "single_node_single_container_session_status_history",
            ),
            (
                "e: dependencies by id",
                "single_node_single_container_session_dependency_graph_retriever",
            ),
            (
                "f: the path of a session's files in the query",
                "single_node_single_container_session_with_vfolder_mount_works_successfully",
            ),
            ("g: the fields of an invitation", "invite_vfolder_success"),
        ] {
            let (_, told) = run(name, "").await;
            assert_eq!(told.ended(), "pass", "B26{bug}: {}", told.story);
        }
    });
}
