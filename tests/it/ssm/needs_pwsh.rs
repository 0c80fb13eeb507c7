//! What the server does with a command, on a real PowerShell; `tests/run` says where it comes from.

use std::fs;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_ssm::operation::get_command_invocation::GetCommandInvocationOutput;
use aws_sdk_ssm::types::ParameterType;
use cgw::transport::ssm;

use super::{Call, Error, Exit, Proxy, Server, endpoint, exec, noise};
use crate::proxy::{Fate, Weather};
use crate::push::{bundle, powershell, remote};

const NEEDED: &str = "CGW_PWSH names a PowerShell 7; tests/run finds it";

fn server() -> Server {
    Server::with_engine(&std::env::var("CGW_PWSH").expect(NEEDED))
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn a_command_gets_a_megabyte_and_gives_its_exit_code_its_lines_and_its_stderr() {
    let server = server();
    let text = "tell\n".repeat(200_000);
    // 194 is what eight bits leave of 3010, which an agent takes for a wish to restart.
    let program = r"sort -u; printf 'one\r\n\nb\303\274ro\nlast'; echo oops >&2; exit 194";
    let (exit, lines) = server.exec(&server.call(program, text.as_bytes())).await;
    assert_eq!(exit.unwrap(), Exit { code: 194, stderr: "oops\n".to_owned() });
    assert_eq!(lines, ["tell", "one", "", "büro", "last"]);
    assert_eq!(server.parameters().await, []);
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn what_stdin_holds_arrives_byte_for_byte() {
    let server = server();
    let every: Vec<u8> = (0..=255).cycle().take(5000).collect();
    let (exit, lines) =
        server.exec(&server.call("od -An -v -tu1 | tr -s ' \\n' ' '", &every)).await;
    assert_eq!(exit.unwrap().code, 0);
    let seen: Vec<u8> = lines[0].split_whitespace().map(|word| word.parse().unwrap()).collect();
    assert_eq!(seen, every);
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn what_one_command_cannot_carry_comes_in_parts_of_which_none_stays() {
    let server = server();
    let (long, sum) = (noise(90_000), server.folder.path().join("sum"));
    fs::write(&sum, &long).unwrap();
    let call = server.call(&format!("cmp - {}", sum.display()), &long);
    assert_eq!(server.exec(&call).await.0.unwrap().code, 0);
    assert_eq!(server.commands().await.len(), 3);
    assert_eq!(fs::read_dir(server.folder.path().join("tmp")).unwrap().count(), 0);
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn the_end_of_a_long_stderr_is_what_is_kept() {
    let server = server();
    let program = "head -c 300000 /dev/zero | tr '\\0' e >&2; echo end >&2";
    let exit = server.exec(&server.call(program, b"")).await.0.unwrap();
    assert!(exit.stderr.ends_with("eeend\n") && exit.stderr.len() > 7000, "{}", exit.stderr.len());
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn an_output_that_is_cut_is_never_taken_for_a_whole_one() {
    let server = server();
    let whole = server.call("yes 0123456 | head -c 23800", b"");
    let (exit, lines) = server.exec(&whole).await;
    assert_eq!((exit.unwrap().code, lines.len()), (0, 2975));
    // What a malicious or unlucky command writes is not its own last line.
    for program in ["yes 0123456 | head -c 24000", "yes 'cgw-exit 0 0' | head -c 24010"] {
        let (exit, lines) = server.exec(&server.call(program, b"")).await;
        let error = exit.unwrap_err();
        assert!(matches!(error, Error::Ssm(ssm::Error::OutputCut { .. })), "{error:?}");
        assert!(error.had_begun() && lines.is_empty());
    }
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn a_command_that_reads_nothing_ends_all_the_same() {
    let server = server();
    let call = server.call("exec 0<&-; exit 5", &vec![b'x'; 5_000_000]);
    assert_eq!(server.exec(&call).await.0.unwrap().code, 5);
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn a_program_that_is_not_there_or_a_key_that_may_not_be_read_starts_nothing() {
    let server = server();
    let call = Call { program: "/nope at all".to_owned(), ..server.call("true", b"") };
    let error = server.exec(&call).await.0.unwrap_err();
    assert!(
        matches!(&error, Error::Start { source, .. } if source.to_string().contains("/nope")),
        "{error:?}"
    );
    server.deny("GetParameter");
    let error = server.exec(&server.call("true", b"")).await.0.unwrap_err();
    assert!(
        matches!(&error, Error::Start { source, .. } if source.to_string().contains("AccessDenied")),
        "{error:?}"
    );
    assert!(!error.had_begun());
    assert_eq!(server.parameters().await, []);
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn neither_what_is_sent_nor_its_key_is_seen_by_others_and_a_change_is_noticed() {
    let server = server();
    let gate = server.folder.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let others = server.folder.path().join("others");
    let program = format!(
        "ps -e -ww -o args > {0}; env >> {0}; cat {1}; cat",
        others.display(),
        gate.display()
    );
    let call = server.call(&program, b"hunter2-hunter2");
    let (transport, mut key) = (server.transport().await, None);
    let open = async {
        while key.is_none() {
            key = server.parameters().await.pop();
        }
        tokio::task::spawn_blocking(move || fs::write(gate, "open\n")).await.unwrap().unwrap();
    };
    let ((exit, lines), ()) = tokio::join!(exec(&transport, &call), open);
    assert_eq!(exit.unwrap().code, 0);
    assert_eq!(lines, ["open", "hunter2-hunter2"]);

    let key = key.unwrap();
    let (name, secret) = (key.name().unwrap(), key.value().unwrap());
    let script = server.history().await;
    let seen = fs::read_to_string(others).unwrap();
    assert!(script.contains(name) && seen.contains("/bin/sh"), "the texts are the right ones");
    for text in [&script, &seen] {
        assert!(!text.contains("hunter2") && !text.contains(secret));
    }

    // With its key the same script runs again; one that was changed does not.
    server.script("program", "cat");
    let sealed = script.split("sealed = '").nth(1).unwrap();
    let changed = script.replacen(&sealed[..8], "AAAABBBB", 1);
    let put = server.api.put_parameter().name(name).value(secret);
    put.r#type(ParameterType::SecureString).send().await.unwrap();
    let again = run(&server, &script).await;
    assert!(again.standard_output_content().unwrap().starts_with("hunter2-hunter2"));
    let refused = run(&server, &changed).await;
    assert_eq!(refused.standard_output_content(), Some(""));
    let said = refused.standard_error_content().unwrap();
    assert_eq!(said, "cgw-not-started the command was changed on its way\n");
}

/// Runs a script as somebody else who may.
async fn run(server: &Server, script: &str) -> GetCommandInvocationOutput {
    let instance = server.cloud.id("instance");
    let send = server.api.send_command().document_name("AWS-RunPowerShellScript");
    let send = send.instance_ids(&instance).parameters("commands", vec![script.to_owned()]);
    let id = send.send().await.unwrap().command.unwrap().command_id.unwrap();
    loop {
        let look = server.api.get_command_invocation().command_id(&id).instance_id(&instance);
        // It is unknown at first.
        if let Some(seen) = look.send().await.ok().filter(|seen| seen.response_code() >= 0) {
            return seen;
        }
    }
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn a_lost_reply_loses_no_command_and_sends_none_twice() {
    let server = server();
    for lost in ["PutParameter", "SendCommand", "DeleteParameter"] {
        let first = AtomicBool::new(true);
        let proxy = Proxy::new(&endpoint(), Weather::Fair, move |action, _| {
            let is_it = action == lost && first.swap(false, Ordering::Relaxed);
            if is_it { Fate::Lose } else { Fate::Pass }
        });
        let before = server.commands().await.len();
        let (transport, _) = server.clients(proxy.url()).await;
        let (exit, lines) = exec(&transport, &server.call("cat", b"said")).await;
        assert_eq!((exit.unwrap().code, lines), (0, vec!["said".to_owned()]), "{lost}");
        assert_eq!(server.commands().await.len(), before + 1, "{lost}");
        assert_eq!(server.parameters().await, [], "{lost}");
    }
}

#[tokio::test]
#[ignore = "needs PowerShell 7"]
async fn a_whole_bundle_is_pushed_and_a_second_push_changes_nothing() {
    let server = server();
    let ip = server.private_ip();
    server.script("powershell.exe", &powershell(&ip).expect(NEEDED));
    fs::create_dir(server.folder.path().join("state")).unwrap();
    let (bundle, events) = (bundle(&ip), cgw::event::Events::silent());
    let reached = remote(server.transport().await, None);
    let ip = Ipv4Addr::new(203, 0, 113, 200);
    assert_eq!(reached.set_up(ip, &bundle, &events).await.unwrap().changed, 11);
    let told = fs::read_to_string(server.folder.path().join("state/server.json")).unwrap();
    assert!(told.contains(&"a".repeat(64)), "the rule has its key");
    assert_eq!(reached.set_up(ip, &bundle, &events).await.unwrap().changed, 0);
    let kept = server.history().await;
    assert!(kept.contains("$sealed = '") && !kept.contains(&"a".repeat(64)));
    assert_eq!(server.parameters().await, []);
}

#[test]
#[ignore = "needs PowerShell 7"]
fn the_whole_job_goes_over_systems_manager() {
    let server = server();
    let cloud = &server.cloud;
    server.script("powershell.exe", &powershell(&server.private_ip()).expect(NEEDED));
    let state = server.folder.path().join("state");
    fs::create_dir(&state).unwrap();
    let before = cloud.dump();
    let (vpc, instance) = (cloud.id("cloud_vpc"), cloud.id("instance"));
    let mut up = vec!["up", "--yes", "--consistency", "0", "--via", "ssm"];
    up.extend(["--vpc", &vpc, "--instance", &instance]);
    let run = cloud.cgw(&up).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert!(run.err.contains("the server has restarted and is as it was set"), "{}", run.err);
    let told = || fs::read_to_string(state.join("server.json")).unwrap();
    assert!(told().contains(" Tunnel 2"), "both tunnels have their rule");
    let run = cloud.cgw(&["test", "--stack", &vpc, "--ping", "10.0.1.10"]).ok();
    assert!(run.out.contains("ping 10.0.1.10: 5 of 5 answered"), "{}", run.out);
    let run = cloud.cgw(&["down", "--yes", "--consistency", "0", "--stack", &vpc]).ok();
    assert!(run.err.contains("windows-setup: tunnels: changed"), "{}", run.err);
    assert!(!told().contains(" Tunnel 2"), "neither has one");
    assert_eq!(cloud.dump(), before);
}
