//! Certificates as people make them with openssl, shown by a server of openssl's: what other
//! clients take is taken, and what is refused is told in words.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::Row;
use crate::runs::World;
use crate::tools::{require, succeed};

/// A server that shows a certificate; it ends when this is dropped.
struct Shows {
    process: Child,
    address: String,
}

impl Shows {
    fn start(folder: &Path, more: &[&str]) -> Self {
        let file = |name: &str| folder.join(name);
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-www"])
            .args(["-cipher", "DEFAULT@SECLEVEL=0"])
            .arg("-cert")
            .arg(file("leaf.pem"))
            .arg("-key")
            .arg(file("leaf.key"))
            .args(more)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let said = BufReader::new(process.stdout.take().unwrap());
        let address = said.lines().find_map(|line| {
            let line = line.unwrap();
            line.strip_prefix("ACCEPT ").map(str::to_owned)
        });
        Self {
            process,
            address: address.unwrap(),
        }
    }
}

impl Drop for Shows {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const P256: &str = "ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "ec -pkeyopt ec_paramgen_curve:P-384";
const P521: &str = "ec -pkeyopt ec_paramgen_curve:P-521";
const RSA: &str = "rsa:2048";
const PSS: &str = "rsa-pss -pkeyopt rsa_keygen_bits:2048";
const ED: &str = "ed25519";

const HERE: &str = "subjectAltName=IP:127.0.0.1";
const CA: &str = "basicConstraints=critical,CA:TRUE";
const NO_CA: &str = "basicConstraints=critical,CA:FALSE";

/// Makes `NAME.pem` and `NAME.key`, signed by itself or by another one.
fn make(folder: &Path, name: &str, key: &str, by: Option<&str>, extensions: &[&str], hash: &str) {
    let path = |end: &str| folder.join(format!("{name}{end}")).display().to_string();
    let (pem, own, request, file) = (path(".pem"), path(".key"), path(".csr"), path(".ext"));
    let subject = format!("/CN={name}");
    let mut new = vec!["req", "-new", "-nodes", "-keyout", &own, "-subj", &subject];
    new.push("-newkey");
    new.extend(key.split(' '));
    let Some(by) = by else {
        new.extend(["-x509", "-days", "30", "-out", &pem]);
        new.extend(extensions.iter().flat_map(|text| ["-addext", *text]));
        new.extend(hash.split_whitespace());
        succeed("openssl", &new);
        return;
    };
    new.extend(["-out", &request]);
    succeed("openssl", &new);
    fs::write(&file, extensions.join("\n")).unwrap();
    let (root, key) = (
        folder.join(format!("{by}.pem")),
        folder.join(format!("{by}.key")),
    );
    let (root, key) = (root.display().to_string(), key.display().to_string());
    let mut sign = vec![
        "x509", "-req", "-in", &request, "-CA", &root, "-CAkey", &key,
    ];
    sign.extend([
        "-CAcreateserial",
        "-out",
        &pem,
        "-days",
        "30",
        "-extfile",
        &file,
    ]);
    sign.extend(hash.split_whitespace());
    succeed("openssl", &sign);
}

/// What is made, one after the other: name, key, by whom, extensions, hash.
type Made = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static [&'static str],
    &'static str,
);

async fn check(
    made: &[Made],
    trusted: &str,
    server: &[&str],
    keys: &str,
    verdict: &str,
    says: &str,
) {
    let folder = tempfile::tempdir().unwrap();
    for &(name, key, by, extensions, hash) in made {
        make(folder.path(), name, key, by, extensions, hash);
    }
    let all: String = made
        .iter()
        .filter(|(name, ..)| !["leaf", trusted].contains(name))
        .map(|(name, ..)| fs::read_to_string(folder.path().join(format!("{name}.pem"))).unwrap())
        .collect();
    fs::write(folder.path().join("others.pem"), all).unwrap();
    let server = Shows::start(folder.path(), server);
    let trusted = folder.path().join(format!("{trusted}.pem"));
    let trust = format!("[target.rig.tls]\nca_file = \"{}\"\n", trusted.display());
    let row = Row {
        world: World::new()
            .at(&format!("https://{}", server.address))
            .target(&trust),
        keys,
        verdict,
        says,
    };
    row.check().await;
}

const ROOT: Made = ("root", P256, None, &[], "");
const SENT: &[&str] = &["-cert_chain", "others.pem"];

#[tokio::test]
async fn certificates_that_others_take() {
    if !require("openssl") {
        return;
    }
    let root = Some("root");
    let rows: &[(&[Made], &str, &[&str])] = &[
        // The leaf itself is what is trusted.
        (&[("leaf", RSA, None, &[HERE], "")], "leaf", &[]),
        (&[("leaf", P256, None, &[HERE, NO_CA], "")], "leaf", &[]),
        (&[("leaf", P521, None, &[HERE], "")], "leaf", &[]),
        (&[("leaf", ED, None, &[HERE], "")], "leaf", &[]),
        (&[ROOT, ("leaf", P256, root, &[HERE], "")], "leaf", &[]),
        (&[ROOT, ("leaf", P256, root, &[HERE, CA], "")], "leaf", &[]),
        (&[("leaf", RSA, None, &[HERE], "-sha1")], "leaf", &[]),
        // A leaf that could sign.
        (&[ROOT, ("leaf", P256, root, &[HERE, CA], "")], "root", &[]),
        (
            &[
                ROOT,
                ("inner", P384, root, &[CA], ""),
                ("leaf", RSA, Some("inner"), &[HERE, CA], ""),
            ],
            "root",
            SENT,
        ),
        // Curves, hashes and keys.
        (&[ROOT, ("leaf", P521, root, &[HERE], "")], "root", &[]),
        (
            &[ROOT, ("leaf", P256, root, &[HERE], "-sha512")],
            "root",
            &[],
        ),
        (
            &[ROOT, ("leaf", P384, root, &[HERE], "-sha384")],
            "root",
            &[],
        ),
        (&[ROOT, ("leaf", PSS, root, &[HERE], "")], "root", &[]),
        (
            &[
                ("root", P521, None, &[], ""),
                ("leaf", P256, root, &[HERE], ""),
            ],
            "root",
            &[],
        ),
        (
            &[
                ("root", RSA, None, &[], ""),
                ("leaf", RSA, root, &[HERE], "-sha512"),
            ],
            "root",
            &[],
        ),
        (
            &[ROOT, ("leaf", RSA, root, &[HERE], "")],
            "root",
            &["-tls1_2"],
        ),
    ];
    for (made, trusted, server) in rows {
        check(made, trusted, server, "", "pass", "").await;
    }
}

#[tokio::test]
async fn certificates_that_nobody_should_take() {
    if !require("openssl") {
        return;
    }
    let root = Some("root");
    let own = Some("own");
    let rows: &[(&[Made], &str, &[&str], &str)] = &[
        (
            &[ROOT, ("leaf", P256, None, &[HERE], "")],
            "root",
            &[],
            "nobody who is trusted has signed the certificate",
        ),
        // Below a root that is not trusted.
        (
            &[
                ROOT,
                ("own", P256, None, &[], ""),
                ("leaf", P256, own, &[HERE, CA], ""),
            ],
            "root",
            SENT,
            "nobody who is trusted has signed the certificate",
        ),
        // Who has signed may not sign.
        (
            &[
                ROOT,
                ("inner", P256, root, &[NO_CA], ""),
                ("leaf", P256, Some("inner"), &[HERE, CA], ""),
            ],
            "root",
            SENT,
            "nobody who is trusted has signed the certificate",
        ),
        (
            &[(
                "leaf",
                P256,
                None,
                &[HERE, "extendedKeyUsage=clientAuth"],
                "",
            )],
            "leaf",
            &[],
            "the certificate is not for servers",
        ),
        (
            &[
                ROOT,
                ("leaf", P256, root, &["subjectAltName=DNS:127.0.0.1"], ""),
            ],
            "root",
            &[],
            "the certificate is for the DNS name 127.0.0.1, not for the address",
        ),
        (
            &[("leaf", P256, None, &["subjectAltName=DNS:shop.example"], "")],
            "leaf",
            &[],
            "the certificate is for shop.example, expected 127.0.0.1",
        ),
        (
            &[ROOT, ("leaf", P256, root, &[HERE], "-sha1")],
            "root",
            &[],
            "the certificate is signed with ECDSA and SHA-1, which is not taken",
        ),
    ];
    for (made, trusted, server, says) in rows {
        check(made, trusted, server, "", "fail tls", says).await;
    }
}

#[tokio::test]
async fn only_the_chain_that_is_used_has_to_last() {
    if !require("openssl") {
        return;
    }
    let root = Some("root");
    let leaf = ("leaf", P256, root, [HERE].as_slice(), "");
    let short = ("other", P256, None, [].as_slice(), "-days 2");
    let inner = ("inner", P256, root, [CA].as_slice(), "-days 5");
    let below = ("leaf", P256, Some("inner"), [HERE].as_slice(), "");
    for (made, keys, verdict, says) in [
        (vec![ROOT, leaf], "20d", "pass", ""),
        (vec![ROOT, leaf, short], "20d", "pass", ""),
        (
            vec![ROOT, leaf, short],
            "60d",
            "fail assertion",
            "of 2 certificates that the server sends, 1 lead to no root",
        ),
        (vec![ROOT, inner, below], "2d", "pass", ""),
        (
            vec![ROOT, inner, below],
            "20d",
            "fail assertion",
            "the certificate `CN=inner` expires at",
        ),
    ] {
        let keys = format!("expect = {{ cert_valid_for = \"{keys}\" }}");
        let server = if made.len() > 2 { SENT } else { &[] };
        check(&made, "root", server, &keys, verdict, says).await;
    }
}
