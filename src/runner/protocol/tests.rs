//! Whole tries as scripts: what is asked for, what is said to it, and how it ends.

use serde_json::json;

use super::*;

fn ids(id: u64) -> Ids {
    [("id".to_owned(), json!(id))].into()
}

/// What the target says: `=` is ours, `!` is another one of the name.
fn look(said: &str) -> Result<Looked, Failure> {
    let found = |mark| match mark {
        '=' => ids(1),
        _ => ids(2),
    };
    match said {
        "-" => Ok(Looked::NotListed),
        "?" => Ok(Looked::Unknown),
        "x" => Err(Failure::new(Reason::Status, "503")),
        found_them => Ok(Looked::Found(found_them.chars().map(found).collect())),
    }
}

fn delete(said: &str) -> Result<Deleted, Failure> {
    let failed = || Failure::new(Reason::Status, "500");
    match said {
        "a" => Ok(Deleted::Accepted),
        "g" => Ok(Deleted::NotThere),
        "r" => Ok(Deleted::AllButItsRecord),
        "e" => Err(failed()),
        "n" => Err(failed().without_effect()),
        other => panic!("{other}"),
    }
}

/// Says the script to the protocol, which must ask for just that; what it ends with.
fn play(mut protocol: Protocol, script: &str) -> String {
    let left = Duration::from_secs(60);
    let mut next = protocol.begin();
    for part in script.split_whitespace() {
        let (asked, said) = part.split_at(1);
        let heard = match (&next, asked) {
            (Next::Look, "L") => Heard::Looked(look(said)),
            (Next::Delete(_), "D") => Heard::Deleted(delete(said)),
            (Next::Pause(_), "P") => Heard::Paused,
            _ => panic!("`{script}`: {next:?} instead of {part}"),
        };
        next = protocol.next(heard, left);
    }
    let ended = match next {
        Next::End(Ok(Undone::Gone)) => "gone".to_owned(),
        Next::End(Ok(Undone::NotFound)) => "not found".to_owned(),
        Next::End(Err(failure)) => failure.message,
        other => panic!("`{script}` does not end: {other:?}"),
    };
    match protocol.sight {
        Some(Sight::Blind) => format!("blind, {ended}"),
        _ => ended,
    }
}

fn known(hands: Hands) -> Known {
    Known {
        ids: ids(1),
        created: true,
        delete_sent: false,
        deleted_by_step: false,
        searchable: true,
        may_hit_others: true,
        sight: None,
        hands,
        time: Duration::from_secs(10),
    }
}

fn check(known: impl Fn() -> Known, plays: &[(&str, &str)]) {
    for (script, ended) in plays {
        let told = play(Protocol::new(known()), script);
        assert!(
            told.starts_with(ended),
            "`{script}` ends with {told}, not {ended}"
        );
    }
}

#[test]
fn a_run_finds_compares_deletes_and_finds_again() {
    check(
        || known(Hands::Run),
        &[
            ("L= Da L-", "gone"),
            ("L= Dg L-", "gone"),
            ("L= Dr L=", "gone"),
            // The delete did nothing, once or twice; or it is listed for a while.
            ("L= Da L= P L= Da L-", "gone"),
            ("L= Dg L= P L= Da L= P L= Da L-", "gone"),
            ("L= Da L= P L-", "gone"),
            // No answer, an error, and what a proxy says of everything.
            ("L= De L-", "gone"),
            ("L= De L= P L= Da L-", "gone"),
            ("L= Dn L= P L= Da L-", "gone"),
            ("L= Dg L?", "not found"),
            ("Lx P L= Da Lx P L-", "gone"),
            // A search that is out of order does not keep the first delete back.
            ("Lx P Lx P Lx P Lx P Lx Da Lx P L-", "blind, gone"),
            // Another one of the name is nobody's to delete.
            ("L=! Da L!", "find: another item"),
            ("L! P L! P L! P L! P L!", "find: another item"),
            ("L==", "find: several items"),
        ],
    );
}

#[test]
fn what_was_made_and_is_not_found_means_a_blind_search() {
    let late = "L- P L- P L- P L- P L-";
    check(
        || known(Hands::Run),
        &[
            ("L- P L= Da L-", "gone"),
            (&format!("{late} Da L-"), "blind, gone"),
            // A step has deleted it: both say so.
            (&format!("{late} Dg L-"), "gone"),
            (&format!("{late} De L-"), "blind, 500; a delete was sent"),
            (&format!("{late} Dn L- P L- Da L-"), "blind, gone"),
        ],
    );
    let blind = || Known {
        sight: Some(Sight::Blind),
        ..known(Hands::Run)
    };
    check(blind, &[("L- Da L-", "blind, gone"), ("L= Da L-", "gone")]);
}

#[test]
fn the_sweeper_deletes_nothing_a_second_time_that_no_search_shows() {
    let sweeper = |delete_sent, sight| {
        move || Known {
            delete_sent,
            sight,
            ..known(Hands::Sweeper)
        }
    };
    let (sees, blind) = (Some(Sight::Sees), Some(Sight::Blind));
    check(
        sweeper(false, None),
        &[
            ("L= Da L-", "gone"),
            ("L= Da L=", "find: the target accepted"),
            ("L= De L=", "500"),
            ("Lx", "503"),
            ("L!", "find: another item"),
            ("L-", "it was made"),
        ],
    );
    check(sweeper(false, sees), &[("L-", "not found")]);
    // As where there is no search at all: the first delete needs none.
    check(sweeper(false, blind), &[("L- Da L-", "gone")]);
    check(
        sweeper(true, None),
        &[("L= Da L-", "gone"), ("L-", "not found")],
    );
    check(sweeper(true, sees), &[("L-", "gone")]);
    check(sweeper(true, blind), &[("L-", "a delete was sent")]);
    let person = || Known {
        delete_sent: true,
        sight: blind,
        ..known(Hands::Person)
    };
    check(
        person,
        &[("L- Da L-", "gone"), ("L- De L-", "500; a delete was sent")],
    );
    let by_name = || Known {
        may_hit_others: false,
        ..known(Hands::Sweeper)
    };
    check(by_name, &[("L- Dg L-", "gone"), ("L- Da L-", "gone")]);
}

#[test]
fn what_a_step_has_deleted_is_looked_for_and_not_deleted_again() {
    let by_step = |sight, confirmed| {
        move || Known {
            delete_sent: true,
            deleted_by_step: confirmed,
            sight,
            ..known(Hands::Run)
        }
    };
    for sight in [None, Some(Sight::Sees), Some(Sight::Blind)] {
        check(
            by_step(sight, true),
            &[
                ("L-", "gone"),
                ("L?", "gone"),
                // It lied, or it is listed for a while.
                ("L= Da L-", "gone"),
                ("L= Dg L= P L-", "gone"),
            ],
        );
    }
    // Nobody knows whether it was carried out.
    check(
        by_step(None, false),
        &[
            ("L-", "not found"),
            ("L?", "not found"),
            ("L= Da L-", "gone"),
        ],
    );
    check(
        by_step(Some(Sight::Blind), false),
        &[("L-", "a delete was sent")],
    );
    let unsearchable = |confirmed, may_hit_others| {
        move || Known {
            searchable: false,
            may_hit_others,
            ..by_step(None, confirmed)()
        }
    };
    check(unsearchable(true, true), &[("", "gone")]);
    check(unsearchable(false, true), &[("", "a delete was sent")]);
    // It may have been made again under the same name, which is nobody else's.
    check(unsearchable(true, false), &[("Dg", "gone")]);
}

#[test]
fn what_nobody_confirmed_is_found_by_its_name_alone() {
    let unclear = |sight| {
        move || Known {
            ids: Ids::new(),
            created: false,
            sight,
            ..known(Hands::Sweeper)
        }
    };
    check(
        unclear(None),
        &[
            ("L-", "not found"),
            ("L?", "not found"),
            ("L! Da L-", "gone"),
            ("L! Da L=", "find: another item"),
            ("L! Da L!", "find: the target accepted"),
            ("L=!", "find: several items"),
            ("Lx", "503"),
        ],
    );
    check(
        unclear(Some(Sight::Blind)),
        &[("L-", "not found, but"), ("L= Da L-", "gone")],
    );
}

#[test]
fn without_a_search_the_first_delete_is_the_last() {
    let run = || Known {
        searchable: false,
        ..known(Hands::Run)
    };
    check(
        run,
        &[
            ("Da", "gone"),
            ("Dg", "gone"),
            ("De", "500; a delete was sent"),
            // Certainly not carried out.
            ("Dn P Dn P Da", "gone"),
        ],
    );
    let sent = |hands| {
        move || Known {
            delete_sent: true,
            ..Known {
                searchable: false,
                ..known(hands)
            }
        }
    };
    check(sent(Hands::Sweeper), &[("", "a delete was sent")]);
    check(
        sent(Hands::Person),
        &[("Da", "gone"), ("De", "500; a delete")],
    );
    let unclear = || Known {
        created: false,
        searchable: false,
        ..known(Hands::Sweeper)
    };
    check(unclear, &[("", "nobody knows")]);
    // A name hits nobody else.
    let named = |created, hands| {
        move || Known {
            created,
            searchable: false,
            may_hit_others: false,
            ..known(hands)
        }
    };
    check(named(true, Hands::Run), &[("De P Dn P Da", "gone")]);
    check(
        named(false, Hands::Sweeper),
        &[("Da", "not found"), ("De", "500")],
    );
}

#[test]
fn it_ends_when_the_time_is_over_or_the_fault_is_ours() {
    let mut protocol = Protocol::new(known(Hands::Run));
    let left = Duration::from_millis(50);
    let next = protocol.next(Heard::Looked(look("x")), left);
    assert!(matches!(next, Next::End(Err(failure)) if failure.message == "503"));
    let mut protocol = Protocol::new(known(Hands::Run));
    let ours = Failure::new(crate::outcome::Cause::Secret, "no token");
    let next = protocol.next(Heard::Looked(Err(ours)), Duration::from_secs(60));
    assert!(matches!(next, Next::End(Err(failure)) if failure.message == "no token"));
}
