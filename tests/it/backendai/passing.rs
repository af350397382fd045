//! The built-in specs on a cluster that is well: they pass, or say what the cluster lacks, and leave
//! nothing behind.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::future::join_all;
use testerd::client::Client;
use testerd::demo::backendai::IMAGE;
use testerd::runner::requirements;
use testerd::spec::Scheduled;

use super::clock;
use super::cluster::Cluster;
use super::site::Site;

/// How a spec ends here.
fn expected(spec: &Scheduled) -> &'static str {
    if spec.info.identity.spec.contains("imagify") {
        // There is no registry for the image.
        "not_applicable not_applicable in body registry"
    } else {
        "pass"
    }
}

#[test]
fn every_built_in_spec_passes_and_leaves_nothing() {
    clock::run(async {
        let plan = Site::open().await.plan(&["*"], "");
        let run: BTreeSet<_> = plan.iter().map(|spec| &*spec.info.identity.spec).collect();
        assert_eq!(run, built_in().iter().map(String::as_str).collect());
        join_all((0..plan.len()).map(async |nth| {
            let site = Site::open().await;
            let spec = site.plan(&["*"], "").swap_remove(nth);
            let told = site.run(&spec).await;
            let identity = &spec.info.identity;
            assert_eq!(told.ended(), expected(&spec), "{identity}:\n{}", told.story);
            site.assert_clean().await;
        }))
        .await;
    });
}

/// The names of all built-in specs.
fn built_in() -> BTreeSet<String> {
    let folder = crate::tools::root().join("config/specs/backendai");
    let name = regex::Regex::new(r#"(?m)^\[\[spec\]\]\nname = "(.*)"$"#).unwrap();
    let files = std::fs::read_dir(folder).unwrap();
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let named = |text: String| -> Vec<String> {
        let found = name.captures_iter(&text);
        found.map(|found| found[1].to_owned()).collect()
    };
    texts.flat_map(named).collect()
}

#[test]
fn what_the_cluster_lacks_is_told_in_its_own_words() {
    clock::run(async {
        let site = Site::open().await;
        let name = "single_node_single_container_imagify_interactive_session_success";
        let spec = site.spec(name, "");
        let told = site.run(&spec).await;
        let asked = requirements(&spec, &Client::new()).await.unwrap_err();
        for message in [told.message(), &asked.failure.message] {
            assert!(
                message.contains(r#""container_registry":"{}""#),
                "{message}"
            );
        }
        assert_eq!(
            (&*asked.step, asked.failure.fault),
            ("registry", told.failed.as_ref().unwrap().failure.fault)
        );
        site.assert_clean().await;
    });
}

#[test]
fn all_of_them_at_once_leave_nothing_on_one_cluster() {
    clock::run(async {
        let site = Site::open().await;
        let plan: Vec<Arc<Scheduled>> = site.plan(&["*"], "");
        join_all(plan.iter().enumerate().map(async |(nth, spec)| {
            let told = site.run_nth(spec, nth).await;
            let identity = &spec.info.identity;
            assert_eq!(told.ended(), expected(spec), "{identity}:\n{}", told.story);
        }))
        .await;
        site.assert_clean().await;
    });
}

/// 26.9 answers with 500 after it has made the session. Its specs do not ask for that.
#[test]
fn a_session_that_is_made_and_denied_is_removed() {
    let spec = r#"
[[spec]]
name = "denied"
[[spec.wrap]]
name = "template"
use = "backendai.template"
image = "IMAGE"
group = "default"
domain = "default"
scaling_group = "default"
[[spec.wrap]]
name = "session"
use = "backendai.session"
template = "${template.id}"
group = "default"
domain = "default"
[[spec.steps]]
name = "never"
use = "http"
path = "/"
"#;
    clock::run(async {
        let cluster = Cluster::open(|setup| setup.templates_fail = true);
        let site = Site::with(cluster).await;
        let kind = "single_node_single_container_creation_batch_session_success_from_template";
        let told = site.run(&site.spec(kind, "")).await;
        let lacking = "not_applicable not_applicable in body templates-work";
        assert_eq!(told.ended(), lacking);
        site.assert_clean().await;

        let spec = site.spec("denied", &spec.replace("IMAGE", IMAGE));
        let told = site.run(&spec).await;
        assert_eq!(told.ended(), "fail status in setup session");
        assert_eq!(site.left().len(), 2, "session and template");
        assert_eq!(site.sweep(&spec).await, []);
        site.assert_clean().await;
    });
}
