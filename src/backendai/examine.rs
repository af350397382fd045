//! What `testerd check --online` asks a manager: whether it would let the specs do their work.

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::Method;
use serde_json::{Value, json};

use super::api::Api;
use crate::action::reach;
use crate::outcome::Reason;
use crate::spec::{Context, Finding};
use crate::text::Params;

/// Examines a manager.
pub fn examine<'a>(context: &'a mut Context<'_>, vars: &'a Params) -> BoxFuture<'a, Vec<Finding>> {
    async move {
        let mut findings = reach(context).await;
        if findings
            .iter()
            .any(|finding| finding.subject == "reachable" && finding.remedy.is_some())
        {
            return findings;
        }
        let mut api = Api::new(context);
        findings.push(version(&mut api).await);
        let signature = signature(&mut api).await;
        let accepted = signature.remedy.is_none();
        findings.push(signature);
        if !accepted {
            return findings;
        }
        let role = role(&mut api).await;
        let asks = if role.remedy.is_none() {
            Asks::Administrator
        } else {
            Asks::User
        };
        findings.push(role);
        findings.push(limits(asks, &mut api).await);
        findings.push(image(asks, &mut api, vars).await);
        findings
    }
    .boxed()
}

/// Who asks: there are questions that a manager answers to administrators only, and refuses to
/// others in words that do not say so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    Administrator,
    User,
}

const NOT_TOLD: &str = "the manager does not tell it to this user";

async fn version(api: &mut Api<'_, '_>) -> Finding {
    match api.get("/").await {
        Ok(answer) => {
            let (version, manager) = (&answer["version"], &answer["manager"]);
            Finding::good(
                "API version",
                format!("{version}, manager {manager}").replace('"', ""),
            )
        }
        Err(failure) => Finding::bad(
            "API version",
            failure.message,
            "let `endpoint` name the manager (of 23.09 or later), not its web server",
        ),
    }
}

async fn signature(api: &mut Api<'_, '_>) -> Finding {
    let echo = json!({ "echo": "testerd" });
    let reply = api.send(Method::POST, "/auth", Some(&echo)).await;
    match reply {
        Ok(reply) if reply.answer.status == 200 => Finding::good("signature", "accepted"),
        Ok(reply) if reply.reason == Reason::Auth => Finding::bad(
            "signature",
            format!("refused with {}; {}", reply.answer.status, reply.excerpt()),
            "check access_key, secret_key, the clocks, and that no proxy changes the Host header",
        ),
        Ok(reply) => Finding::bad(
            "signature",
            format!("answered {}; {}", reply.answer.status, reply.excerpt()),
            "look into the manager's log",
        ),
        Err(failure) => Finding::bad("signature", failure.message, "look into the manager's log"),
    }
}

async fn role(api: &mut Api<'_, '_>) -> Finding {
    match api.get("/auth/role").await {
        Ok(answer) if answer["global_role"] == "superadmin" => Finding::good("role", "superadmin"),
        Ok(answer) => Finding::bad(
            "role",
            format!(
                "{} (domain: {})",
                answer["global_role"], answer["domain_role"]
            )
            .replace('"', ""),
            "what needs a superadmin does not apply; exclude the tags `group` and \
             `required_multi_node_multi_container_configuration`, or give another key pair",
        ),
        Err(failure) => Finding::bad("role", failure.message, "look into the manager's log"),
    }
}

const OWN: &str = "query { keypair { user_id resource_policy } }";
const POLICY: &str = "query($name: String!) { keypair_resource_policy(name: $name) {
    max_concurrent_sessions max_containers_per_session total_resource_slots } }";

async fn limits(asks: Asks, api: &mut Api<'_, '_>) -> Finding {
    let policy = async {
        let own = api.query(OWN, json!({})).await?;
        let name = own["keypair"]["resource_policy"].clone();
        api.query(POLICY, json!({ "name": name })).await
    };
    match policy.await {
        Ok(answer) => {
            let policy = &answer["keypair_resource_policy"];
            let sessions = policy["max_concurrent_sessions"]
                .as_i64()
                .unwrap_or_default();
            let found = format!(
                "{sessions} sessions at once, {} containers each, slots {}",
                policy["max_containers_per_session"],
                policy["total_resource_slots"]
                    .as_str()
                    .unwrap_or("without limit"),
            );
            let wanted = i64::from(api.context.target.concurrency);
            if sessions > 0 && sessions < wanted {
                let remedy = format!(
                    "the target's `concurrency` is {wanted}: lower it, or raise the policy's limit"
                );
                Finding::bad("limits", found, remedy)
            } else {
                Finding::good("limits", found)
            }
        }
        Err(_) if asks == Asks::User => Finding::good("limits", NOT_TOLD),
        Err(failure) => Finding::bad("limits", failure.message, "look into the manager's log"),
    }
}

const IMAGE: &str = "query($name: String!, $arch: String!) {
    image(reference: $name, architecture: $arch) { humanized_name architecture } }";

async fn image(asks: Asks, api: &mut Api<'_, '_>, vars: &Params) -> Finding {
    let text = |name: &str| vars.get(name).and_then(Value::as_str);
    let Some(name) = text("image") else {
        return Finding::bad(
            "image",
            "the target's vars name none",
            "write image = \"…\" into [target.NAME.vars]; specs that start sessions need it",
        );
    };
    let arch = text("architecture").unwrap_or("x86_64");
    match api
        .query(IMAGE, json!({ "name": name, "arch": arch }))
        .await
    {
        Ok(answer) if !answer["image"].is_null() => Finding::good("image", name),
        Err(_) if asks == Asks::User => Finding::good("image", NOT_TOLD),
        Ok(_) => Finding::bad("image", format!("{name} ({arch}) is not there"), IMAGE_HELP),
        Err(failure) => Finding::bad("image", failure.message, IMAGE_HELP),
    }
}

const IMAGE_HELP: &str = "rescan the registry, or name another image in [target.NAME.vars]";
