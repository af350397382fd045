//! nginx as target: each row's answer is what nginx itself says of the connection.

use std::path::Path;

use super::daemons::Nginx;
use crate::authority::{Authority, Holds};
use crate::faults::Row;
use crate::runs::World;
use crate::tools::require;

/// Which of its ports.
const PLAIN: usize = 0;
const PLAIN_2: usize = 1;
const TLS_12: usize = 2;
const TLS_13: usize = 3;
const STRICT: usize = 4;
const NAMED: usize = 5;

/// Its ports and what is behind them; `location` is what every one of them answers.
fn http(ports: &[u16]) -> String {
    let says = "default_type text/plain;\n\
         location = /who { return 200 \"$server_protocol $ssl_protocol [$ssl_server_name] [$ssl_client_s_dn]\"; }\n\
         location = /moved { return 301 /again; }\n\
         location = /again { return 307 /who; }\n\
         location = /round { return 302 /round; }\n\
         location = /packed { gzip on; gzip_types *; gzip_min_length 1; alias packed.txt; }\n";
    let tls = |name: &str| {
        format!("ssl_certificate {name}.pem;\nssl_certificate_key {name}.key;\n{says}")
    };
    let server = |port: usize, more: &str, inner: &str| {
        format!(
            "server {{\nlisten 127.0.0.1:{}{more};\n{inner}}}\n",
            ports[port]
        )
    };
    let away = format!(
        "location = /away {{ return 302 http://127.0.0.1:{}/who; }}\n",
        ports[PLAIN]
    );
    let strict = "ssl_client_certificate ca.pem;\nssl_verify_client on;\n";
    let named = |name: &str| format!("server_name {name}.example;\n{}", tls(name));
    [
        server(PLAIN, "", says),
        server(PLAIN_2, " http2", says),
        server(
            TLS_12,
            " ssl http2",
            &format!("ssl_protocols TLSv1.2;\n{away}{}", tls("here")),
        ),
        server(
            TLS_13,
            " ssl http2",
            &format!("ssl_protocols TLSv1.3;\n{}", tls("here")),
        ),
        server(STRICT, " ssl", &format!("{strict}{}", tls("here"))),
        server(NAMED, " ssl default_server", "ssl_reject_handshake on;\n"),
        server(NAMED, " ssl", &named("ann")),
        server(NAMED, " ssl", &named("bob")),
    ]
    .concat()
}

fn start(ours: &Authority) -> Nginx {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    ours.write(path);
    ours.sign(&["127.0.0.1"], Holds::Now).write(path, "here");
    for name in ["ann", "bob"] {
        let full = format!("{name}.example");
        ours.sign(&[full.as_str()], Holds::Now).write(path, name);
    }
    std::fs::write(path.join("packed.txt"), "hello ".repeat(1000)).unwrap();
    Nginx::start(folder, 6, http)
}

/// Whom we trust, and who we are.
struct Keys {
    ours: Authority,
    folder: tempfile::TempDir,
}

impl Keys {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ours = Authority::new("ours");
        ours.write(folder.path());
        ours.sign(&["prober"], Holds::Now)
            .write(folder.path(), "prober");
        let other = Authority::new("other");
        other
            .sign(&["prober"], Holds::Now)
            .write(folder.path(), "stranger");
        Self { ours, folder }
    }

    /// `[target.rig.tls]`, in which `@` begins the name of a file.
    fn tls(&self, more: &str) -> String {
        let folder = |path: &Path| format!("{}/", path.display());
        let keys = format!("[target.rig.tls]\nca_file = \"@ca.pem\"\n{more}\n");
        keys.replace('@', &folder(self.folder.path()))
    }
}

type Wanted<'a> = (usize, &'a str, &'a str, &'a str, &'a str, &'a str);

/// A port, more keys of `tls`, a path, keys of the step, and what comes of it.
async fn check(rows: &[Wanted<'_>]) {
    if !require("nginx") {
        return;
    }
    let keys = Keys::new();
    let nginx = start(&keys.ours);
    for &(port, trust, path, step, verdict, says) in rows {
        let scheme = if port <= PLAIN_2 { "http" } else { "https" };
        let world = World::new().at(&format!("{scheme}://{}", nginx.at(port)));
        let row = Row {
            world: world.target(&keys.tls(trust)),
            keys: step,
            verdict,
            says,
        };
        row.check_at(path).await;
    }
}

const TWO: &str = "http_version = \"2\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn versions_are_agreed_on() {
    let says = |text: &str| format!("expect = {{ text = \"{text}\" }}");
    let two = |text: &str| format!("{TWO}{}", says(text));
    let any = |text: &str| format!("http_version = \"any\"\n{}", says(text));
    let only = "min_version = \"1.3\"";
    check(&[
        (PLAIN, "", "/who", &says("HTTP/1.1  [] []"), "pass", ""),
        (PLAIN, "", "/who", &any("HTTP/1.1  [] []"), "pass", ""),
        (
            PLAIN,
            "",
            "/who",
            TWO,
            "fail protocol",
            "no http answer from",
        ),
        (PLAIN_2, "", "/who", &two("HTTP/2.0  [] []"), "pass", ""),
        (
            TLS_12,
            "",
            "/who",
            &says("HTTP/1.1 TLSv1.2 [] []"),
            "pass",
            "",
        ),
        (
            TLS_12,
            "",
            "/who",
            &two("HTTP/2.0 TLSv1.2 [] []"),
            "pass",
            "",
        ),
        (TLS_12, only, "/who", "", "fail tls", "ProtocolVersion"),
        (
            TLS_13,
            only,
            "/who",
            &any("HTTP/2.0 TLSv1.3 [] []"),
            "pass",
            "",
        ),
        (
            TLS_13,
            "",
            "/who",
            &says("HTTP/1.1 TLSv1.3 [] []"),
            "pass",
            "",
        ),
        (STRICT, "", "/who", TWO, "fail tls", "NoApplicationProtocol"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_clients_are_shown() {
    let of = |name: &str| format!("cert_file = \"@{name}.pem\"\nkey_file = \"@{name}.key\"");
    let known = "expect = { text = \"CN=rcgen self signed cert\" }";
    check(&[
        (STRICT, "", "/who", "", "fail status", "400"),
        (STRICT, &of("stranger"), "/who", "", "fail status", "400"),
        (STRICT, &of("prober"), "/who", known, "pass", ""),
        (
            STRICT,
            &of("nobody"),
            "/who",
            "",
            "error secret",
            "cannot use",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_are_asked_for() {
    let name = |name: &str| format!("server_name = \"{name}\"");
    // Which certificate is by the name in the handshake, which site by the `host` header.
    let says = |name: &str| {
        format!("headers = {{ host = \"{name}\" }}\nexpect = {{ text = \"[{name}]\" }}")
    };
    let (ann, bob, eve) = ("ann.example", "bob.example", "eve.example");
    let tls = "fail tls";
    check(&[
        (NAMED, "", "/who", "", tls, "UnrecognisedName"),
        (NAMED, &name(ann), "/who", &says(ann), "pass", ""),
        (NAMED, &name(bob), "/who", &says(bob), "pass", ""),
        (NAMED, &name(eve), "/who", "", tls, "UnrecognisedName"),
        (TLS_13, &name(ann), "/who", "", tls, "expected ann.example"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn redirects_are_followed() {
    let follow = "redirects = 5\nexpect = { text = \"HTTP/1.1\" }";
    let follow_2 = "http_version = \"2\"\nredirects = 5\nexpect = { text = \"HTTP/2.0\" }";
    let stay = "redirects = 5\nsame_origin = true";
    check(&[
        (PLAIN, "", "/moved", "", "fail status", "301"),
        (PLAIN, "", "/moved", follow, "pass", ""),
        (
            PLAIN,
            "",
            "/moved",
            "redirects = 1",
            "fail protocol",
            "more than 1 redirects",
        ),
        (PLAIN_2, "", "/moved", follow_2, "pass", ""),
        (TLS_13, "", "/moved", follow_2, "pass", ""),
        (
            PLAIN,
            "",
            "/round",
            follow,
            "fail protocol",
            "more than 5 redirects",
        ),
        (TLS_12, "", "/away", follow, "pass", ""),
        (
            TLS_12,
            "",
            "/away",
            stay,
            "fail protocol",
            "leaves its origin",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_answers_are_unpacked() {
    let packed = "compression = true\nexpect = { text = \"hello hello\", header = { content-encoding = \"gzip\" } }";
    let plain = "expect = { text = \"hello hello\" }";
    let short = "compression = true\nbody_limit = 5000";
    check(&[
        (PLAIN, "", "/packed", packed, "pass", ""),
        (TLS_13, "", "/packed", packed, "pass", ""),
        (PLAIN, "", "/packed", plain, "pass", ""),
        (
            PLAIN,
            "",
            "/packed",
            short,
            "fail protocol",
            "is longer than 5000 bytes",
        ),
    ])
    .await;
}
