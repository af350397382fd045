//! Sessions: their lives, what may be created, what runs in them.

use super::*;

const LIVE: [&str; 6] = [
    "PENDING",
    "SCHEDULED",
    "PREPARING",
    "PREPARED",
    "CREATING",
    "RUNNING",
];

#[tokio::test(start_paused = true)]
async fn a_session_lives_from_the_queue_to_the_end() {
    let site = Site::open();
    let id = site.enqueue("a", Value::Null).await;
    for state in LIVE {
        let told = site.get(&format!("/session/{id}")).await;
        assert_eq!((told.status, &told.json["status"]), (200, &json!(state)));
        pass(STATE).await;
    }
    let history = site
        .get(&format!("/session/{id}/status-history"))
        .await
        .json;
    assert_eq!(history.as_object().unwrap().len(), LIVE.len());
    let twice = site.ask("POST /session", session("a", Value::Null)).await;
    assert_eq!(
        (twice.status, twice.code()),
        (400, "session_create_already-exists")
    );
    assert_eq!(twice.json["data"]["existingSessionId"], id);
    let reused = site
        .ask("POST /session", session("a", json!({ "reuse": true })))
        .await;
    assert_eq!(
        (reused.status, &reused.json["created"]),
        (201, &json!(false))
    );

    let ended = site
        .ask(&format!("DELETE /session/{id}"), Value::Null)
        .await;
    assert_eq!(ended.json, json!({ "stats": { "status": "terminated" } }));
    assert_eq!(site.status_of(&id).await, "TERMINATING");
    let again = site
        .ask(&format!("DELETE /session/{id}"), Value::Null)
        .await;
    assert_eq!((again.status, again.json), (200, json!({ "stats": {} })));
    pass(STATE).await;
    assert_eq!(site.status_of(&id).await, "TERMINATED");
    for key in [&*id, "a"] {
        let told = site.get(&format!("/session/{key}")).await;
        assert_eq!((told.status, told.code()), (404, "session_read_not-found"));
    }
    let matches = site.get("/session/_/match?id=a").await.json;
    assert_eq!(matches["matches"][0]["status"], "TERMINATED");
    assert_eq!(site.alive(), []);
}

#[tokio::test(start_paused = true)]
async fn a_session_is_destroyed_in_any_state() {
    let site = Site::open();
    for (after, forced, how, then) in [
        (0, false, "cancelled", "CANCELLED"),
        (0, true, "cancelled", "CANCELLED"),
        (2, false, "terminated", "TERMINATING"),
        (2, true, "terminated", "TERMINATED"),
        (5, true, "terminated", "TERMINATED"),
    ] {
        let id = site.enqueue("a", Value::Null).await;
        pass(STATE * after).await;
        let call = format!("DELETE /session/{id}?forced={forced}");
        let told = site.ask(&call, Value::Null).await;
        assert_eq!(told.json["stats"]["status"], how, "{after} {forced}");
        assert_eq!(site.status_of(&id).await, then, "{after} {forced}");
        pass(STATE).await;
    }
    let unknown = site
        .ask(
            "DELETE /session/00000000-0000-0000-0000-000000000001",
            Value::Null,
        )
        .await;
    assert_eq!(unknown.status, 404);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_run_is_refused_or_waits() {
    let site = Site::open();
    let resources =
        |cpu: &str, mem: &str| json!({ "config": { "resources": { "cpu": cpu, "mem": mem } } });
    for (more, status, code) in [
        (resources("1", "64m"), 400, "api_generic_invalid-parameters"),
        (
            json!({ "cluster_size": 5 }),
            400,
            "session_create_unavailable",
        ),
        (
            json!({ "type": "batch" }),
            400,
            "api_generic_invalid-parameters",
        ),
        (
            json!({ "type": "other" }),
            400,
            "api_parsing_invalid-parameters",
        ),
        (
            json!({ "image": "registry.invalid/none:1" }),
            404,
            "image_read_not-found",
        ),
        (json!({ "group": "none" }), 404, "project_read_not-found"),
        (
            json!({ "config": { "mounts": ["none"] } }),
            404,
            "vfolder_read_not-found",
        ),
        (
            json!({ "dependencies": ["a-name"] }),
            500,
            "backendai_generic_internal-error",
        ),
    ] {
        let told = site.ask("POST /session", session("a", more.clone())).await;
        assert_eq!((told.status, told.code()), (status, code), "{more}");
    }
    let mut greedy = resources("9999999999", "512m");
    greedy["enqueueOnly"] = json!(false);
    greedy["maxWaitSeconds"] = json!(5);
    let told = site.ask("POST /session", session("greedy", greedy)).await;
    assert_eq!(
        (told.status, &told.json["status"]),
        (201, &json!("TIMEOUT"))
    );
    assert_eq!(site.alive(), [("session", "greedy".to_owned())]);
    let waited = site
        .ask(
            "POST /session",
            session("b", json!({ "enqueueOnly": false })),
        )
        .await;
    assert_eq!(waited.json["status"], "RUNNING");
}

#[tokio::test(start_paused = true)]
async fn a_dependent_waits_for_the_success_of_the_first() {
    let site = Site::open();
    let batch = |command: &str| json!({ "type": "batch", "startup_command": command });
    let good = site.enqueue("good", batch("sleep 3")).await;
    let bad = site.enqueue("bad", batch("no-such-command")).await;
    let after_good = site
        .enqueue("after-good", json!({ "dependencies": [good] }))
        .await;
    let after_bad = site
        .enqueue("after-bad", json!({ "dependencies": [bad] }))
        .await;
    let graph = site
        .get(&format!("/session/{after_good}/dependency-graph"))
        .await
        .json;
    assert_eq!(graph["depends_on"][0]["session_id"], good);
    assert_eq!(graph["depends_on"][0]["depends_on"], json!([]));
    pass(STATE * 9).await;
    assert_eq!(site.status_of(&good).await, "TERMINATED");
    assert_eq!(site.status_of(&after_good).await, "SCHEDULED");
    assert_eq!(site.status_of(&after_bad).await, "PENDING");
    let call = format!("DELETE /session/{bad}?recursive=true");
    let told = site.ask(&call, Value::Null).await;
    assert_eq!(told.json["stats"]["status"], "cancelled");
    assert_eq!(site.status_of(&after_bad).await, "CANCELLED");
}

#[tokio::test(start_paused = true)]
async fn code_runs_as_long_as_it_takes() {
    let site = Site::open();
    let id = site.enqueue("a", Value::Null).await;
    let call = format!("POST /session/{id}");
    let early = site
        .ask(&call, json!({ "mode": "query", "code": "1" }))
        .await;
    assert_eq!(
        (early.status, early.code()),
        (500, "agent_access_internal-error")
    );
    pass(STATE * 5).await;
    let slow = "import time\nfor i in range(3):\n  print(i)\n  time.sleep(1)";
    let told = site
        .ask(
            &call,
            json!({ "mode": "query", "code": slow, "run_id": "r" }),
        )
        .await;
    let result = &told.json["result"];
    assert_eq!(
        (&result["status"], &result["runId"]),
        (&json!("continued"), &json!("r"))
    );
    assert_eq!(result["console"], json!([["stdout", "0\n1\n2\n"]]));
    assert_eq!(result["exitCode"], Value::Null);
    let told = site
        .ask(&call, json!({ "mode": "continue", "run_id": "r" }))
        .await;
    assert_eq!(told.json["result"]["status"], "finished");
    assert_eq!(told.json["result"]["exitCode"], 0);

    let sleeper = json!({ "mode": "query", "code": "import time; time.sleep(99)", "run_id": "s" });
    assert_eq!(
        site.ask(&call, sleeper).await.json["result"]["status"],
        "continued"
    );
    assert_eq!(
        site.ask(&format!("POST /session/{id}/interrupt"), Value::Null)
            .await
            .status,
        204
    );
    let told = site
        .ask(&call, json!({ "mode": "continue", "run_id": "s" }))
        .await;
    assert_eq!(told.json["result"]["exitCode"], 1);
}

#[tokio::test(start_paused = true)]
async fn names_are_changed_if_they_are_free() {
    let site = Site::open();
    let first = site.enqueue("a", Value::Null).await;
    site.enqueue("b", Value::Null).await;
    let call = format!("POST /session/{first}/rename");
    let early = site.ask(&call, json!({ "name": "c" })).await;
    assert_eq!(
        (early.status, early.code()),
        (400, "api_generic_invalid-parameters")
    );
    pass(STATE * 5).await;
    let taken = site.ask(&call, json!({ "name": "b" })).await;
    assert_eq!(
        (taken.status, taken.code()),
        (400, "session_create_already-exists")
    );
    assert_eq!(site.ask(&call, json!({ "name": "c" })).await.status, 204);
    assert_eq!(site.get("/session/c").await.status, 200);
    assert_eq!(site.get("/session/a").await.status, 404);
}

#[tokio::test(start_paused = true)]
async fn a_session_from_a_template_is_made_and_said_to_have_failed() {
    let site = Site::open();
    let template = json!([{ "name": "t", "template": { "metadata": { "name": "t" }, "spec": {
        "session_type": "interactive", "kernel": { "image": IMAGE }, "scaling_group": "default",
        "resources": { "cpu": "1", "mem": "512m" },
    } } }]);
    let made = site
        .ask(
            "POST /template/session",
            json!({ "payload": template.to_string() }),
        )
        .await;
    let id = made.json[0]["id"].as_str().unwrap().to_owned();
    let body = json!({ "template_id": id, "name": "a", "group": "default", "enqueueOnly": true });
    let told = site.ask("POST /session/_/create-from-template", body).await;
    assert_eq!(told.status, 500);
    let found = site.get("/session/_/match?id=a").await.json["matches"][0]["id"].clone();
    assert_eq!(
        site.alive(),
        [("session", "a".to_owned()), ("template", "t".to_owned())]
    );
    let found = found.as_str().unwrap();
    site.ask(&format!("DELETE /session/{found}"), Value::Null)
        .await;
    let call = format!("DELETE /template/session/{id}");
    assert_eq!(site.ask(&call, Value::Null).await.status, 200);
    assert_eq!(site.ask(&call, Value::Null).await.status, 404);
    assert_eq!(site.alive(), []);
}
