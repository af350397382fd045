//! Users, projects, the web server, and model services.

use super::*;

const ADD_USER: &str = "mutation($email: String!, $props: UserInput!) {
    create_user(email: $email, props: $props) { ok user { uuid } keypair { access_key secret_key } } }";
const PURGE_USER: &str = "mutation($email: String!, $props: PurgeUserInput!) {
    purge_user(email: $email, props: $props) { ok } }";
const ADD_PROJECT: &str = "mutation($name: String!, $props: GroupInput!) {
    create_group(name: $name, props: $props) { ok group { id } } }";
const CHANGE_PROJECT: &str = "mutation($id: UUID!, $props: ModifyGroupInput!) {
    modify_group(gid: $id, props: $props) { ok } }";
const PURGE_PROJECT: &str = "mutation($id: UUID!) { purge_group(gid: $id) { ok } }";

impl Site {
    /// Makes a user in the default project: e-mail address and key pair.
    pub(super) async fn user(&self, name: &str) -> (String, Keys) {
        let email = format!("{name}@site.test");
        let query = "{ groups_by_name(name: \"default\") { id } }";
        let project = self.graphql(query, json!({})).await.unwrap()[0]["id"].clone();
        let props = json!({
            "username": name, "password": "pass", "need_password_change": false,
            "group_ids": [project],
        });
        let variables = json!({ "email": email, "props": props });
        let made = self.graphql(ADD_USER, variables).await.unwrap();
        let key = |name: &str| made["keypair"][name].as_str().unwrap().to_owned();
        (email, Keys(key("access_key"), key("secret_key")))
    }
}

#[tokio::test(start_paused = true)]
async fn users_come_and_go_with_their_keys() {
    let site = Site::open();
    let (email, keys) = site.user("guest").await;
    let role = async || site.ask_as(&keys, "GET /auth/role", Value::Null).await;
    assert_eq!(role().await.json["global_role"], "user");
    let props = json!({ "username": "guest", "password": "p", "need_password_change": false });
    let twice = site
        .graphql(ADD_USER, json!({ "email": email, "props": props }))
        .await;
    assert_eq!(twice, Err("user_create_conflict".into()));

    let id = site.enqueue("a", Value::Null).await;
    let told = site
        .ask_as(&keys, &format!("GET /session/{id}"), Value::Null)
        .await;
    assert_eq!(
        (told.status, told.code()),
        (403, "permission_access_forbidden")
    );
    let told = site.ask_as(&keys, "GET /manager/status", Value::Null).await;
    assert_eq!(
        (told.status, told.code()),
        (403, "backendai_generic_forbidden")
    );
    site.ask(&format!("DELETE /session/{id}"), Value::Null)
        .await;

    let delete = "mutation($email: String!) { delete_user(email: $email) { ok } }";
    site.graphql(delete, json!({ "email": email }))
        .await
        .unwrap();
    assert_eq!(role().await.json["msg"], "User account is deleted");
    let purge = json!({ "email": email, "props": {} });
    site.graphql(PURGE_USER, purge.clone()).await.unwrap();
    assert_eq!(role().await.json["msg"], "Access key not found in HMAC");
    assert_eq!(
        site.graphql(PURGE_USER, purge).await,
        Err("user_read_not-found".into())
    );
    assert_eq!(site.alive(), []);
}

#[tokio::test(start_paused = true)]
async fn a_project_goes_when_nothing_runs_in_it() {
    let site = Site::open();
    let props = json!({ "domain_name": "default" });
    let variables = json!({ "name": "p", "props": props });
    let made = site.graphql(ADD_PROJECT, variables.clone()).await.unwrap();
    let twice = site.graphql(ADD_PROJECT, variables).await;
    assert_eq!(twice, Err("api_parsing_invalid-parameters".into()));
    let id = json!({ "id": made["group"]["id"] });
    let outside = site
        .ask("POST /session", session("a", json!({ "group": "p" })))
        .await;
    assert_eq!(
        (outside.status, outside.code()),
        (400, "api_generic_invalid-parameters")
    );

    let own = site.graphql("{ user { uuid } }", json!({})).await.unwrap();
    for mode in ["add", "add"] {
        let props = json!({ "user_update_mode": mode, "user_uuids": [own["uuid"]] });
        let variables = json!({ "id": id["id"], "props": props });
        site.graphql(CHANGE_PROJECT, variables).await.unwrap();
    }
    assert_eq!(
        site.alive(),
        [("member", "p".to_owned()), ("project", "p".to_owned())]
    );
    let session = site.enqueue("a", json!({ "group": "p" })).await;
    pass(STATE).await;
    let refused = site.graphql(PURGE_PROJECT, id.clone()).await;
    assert_eq!(refused, Err("project_purge_conflict".into()));
    site.ask(
        &format!("DELETE /session/{session}?forced=true"),
        Value::Null,
    )
    .await;
    site.graphql(PURGE_PROJECT, id.clone()).await.unwrap();
    assert_eq!(
        site.graphql(PURGE_PROJECT, id).await,
        Err("project_read_not-found".into())
    );
    assert_eq!(site.alive(), []);
}

#[tokio::test(start_paused = true)]
async fn the_web_server_passes_calls_on_with_its_cookie() {
    let site = Site::open();
    let post = async |path: &str, cookie: &str, body: Value| {
        let request = Request::post(path).header("Cookie", cookie);
        site.answer(request.body(Body::from(body.to_string())).unwrap())
            .await
    };
    let role = async |cookie: &str| {
        let request = Request::get("/func/auth/role").header("Cookie", cookie);
        site.answer(request.body(Body::empty()).unwrap())
            .await
            .status
    };
    let password =
        |password: &str| json!({ "username": "operator@site.test", "password": password });
    let wrong = post("/server/login", "", password("guess")).await;
    assert_eq!(
        (wrong.status, &wrong.json["authenticated"]),
        (401, &json!(false))
    );
    let right = post("/server/login", "", password("password")).await;
    assert_eq!(
        (right.status, &right.json["authenticated"]),
        (200, &json!(true))
    );
    let cookie = |told: &Told| {
        let set = told.headers["set-cookie"].to_str().unwrap();
        set.split(';').next().unwrap().to_owned()
    };
    assert_eq!((role(&cookie(&wrong)).await, role("").await), (401, 401));
    let cookie = cookie(&right);
    assert_eq!(role(&cookie).await, 200);
    assert_eq!(
        post("/server/login", &cookie, password("password"))
            .await
            .status,
        400
    );
    let told = post("/func/auth", &cookie, json!({ "echo": "hi" })).await;
    assert_eq!(told.json["echo"], "hi");
    assert_eq!(site.alive().len(), 1);
    post("/server/logout", &cookie, json!({})).await;
    assert_eq!(
        post("/server/login-check", &cookie, json!({})).await.json["authenticated"],
        false
    );
    assert_eq!(role(&cookie).await, 401);
    assert_eq!(site.alive(), []);
}

#[tokio::test(start_paused = true)]
async fn a_service_is_as_many_sessions_as_are_wanted() {
    let site = Site::open();
    let model = site
        .ask(
            "POST /folders",
            json!({ "name": "model", "usage_mode": "model" }),
        )
        .await;
    let model = model.json["id"].as_str().unwrap().to_owned();
    let mut body = session("service", json!({ "replicas": 1 }));
    body["config"]["model"] = json!("none");
    let refused = site.ask("POST /services", body.clone()).await;
    assert_eq!(
        (refused.status, refused.code()),
        (404, "vfolder_read_not-found")
    );
    body["config"]["model"] = json!(model);
    let made = site.ask("POST /services", body).await;
    assert_eq!(
        (made.status, &made.json["service_endpoint"]),
        (201, &Value::Null)
    );
    let id = made.json["endpoint_id"].as_str().unwrap().to_owned();
    let routes = async || {
        let told = site.get(&format!("/services/{id}")).await;
        told.json["active_routes"].as_array().map_or(0, Vec::len)
    };
    pass(STATE * 5).await;
    assert_eq!(routes().await, 1);
    let endpoint = site.get(&format!("/services/{id}")).await.json["service_endpoint"].clone();
    assert_eq!(endpoint, format!("http://{HOST}/apps/{id}"));
    let token = site
        .ask(
            &format!("POST /services/{id}/token"),
            json!({ "duration": "3600" }),
        )
        .await;
    let token = format!("Bearer {}", token.json["token"].as_str().unwrap());
    for (authorization, status) in [("", 401), ("Bearer guess", 401), (&*token, 200)] {
        let request =
            Request::get(format!("/apps/{id}/health")).header("Authorization", authorization);
        let told = site.answer(request.body(Body::empty()).unwrap()).await;
        assert_eq!(told.status, status, "{authorization}");
    }

    let scale = format!("POST /services/{id}/scale");
    let refused = site.ask(&scale, json!({ "to": 11 })).await;
    assert_eq!(
        (refused.status, refused.code()),
        (400, "api_parsing_invalid-parameters")
    );
    for to in [3, 2] {
        assert_eq!(site.ask(&scale, json!({ "to": to })).await.status, 200);
        pass(STATE * 5).await;
        assert_eq!(routes().await, to);
    }
    let delete = format!("DELETE /services/{id}");
    assert_eq!(
        site.ask(&delete, Value::Null).await.json,
        json!({ "success": true })
    );
    assert!(site.alive().contains(&("service", "service".to_owned())));
    pass(STATE).await;
    assert_eq!(site.get(&format!("/services/{id}")).await.status, 404);
    assert_eq!(site.ask(&delete, Value::Null).await.status, 200);
    assert_eq!(site.alive(), [("folder", "model".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_image_is_removed_from_two_places() {
    let site = Site::open();
    let session = site.enqueue("a", Value::Null).await;
    pass(STATE * 5).await;
    let call = format!("POST /session/{session}/imagify");
    let refused = site.ask(&call, json!({ "image_name": "i" })).await;
    let code = "container-registry_read_not-found";
    assert_eq!((refused.status, refused.code()), (404, code));

    let _ = site.stand_in.clone().with_registry();
    let told = site.ask(&call, json!({ "image_name": "i" })).await;
    assert_eq!((told.status, told.json["task_id"].is_string()), (200, true));
    let query = "{ customized_images { id labels { key value } } }";
    let found = async || site.graphql(query, json!({})).await.unwrap();
    assert_eq!(found().await, json!([]));
    pass(STATE).await;
    let id = json!({ "id": found().await[0]["id"] });
    site.ask(
        &format!("DELETE /session/{session}?forced=true"),
        Value::Null,
    )
    .await;
    let both = [("image", "i".to_owned()), ("tag", "i".to_owned())];
    assert_eq!(site.alive(), both);
    let untag = "mutation($id: String!) { untag_image_from_registry(image_id: $id) { ok } }";
    let forget = "mutation($id: String!) { forget_image_by_id(image_id: $id) { ok } }";
    site.graphql(untag, id.clone()).await.unwrap();
    assert_eq!(site.alive(), both[..1]);
    site.graphql(forget, id.clone()).await.unwrap();
    assert_eq!(site.alive(), []);
    assert_eq!(
        site.graphql(forget, id).await,
        Err("image_read_not-found".into())
    );
}
