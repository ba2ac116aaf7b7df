use ::redis::cmd;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

use super::*;

const LONG: Duration = Duration::from_mins(1);

fn pipe(patience: Duration) -> (Pipe, DuplexStream, oneshot::Receiver<()>) {
    let (ours, theirs) = duplex(1 << 16);
    let (told, ended) = oneshot::channel();
    (Pipe::start(ours, patience, || assert_eq!(told.send(()), Ok(()))), theirs, ended)
}

async fn heard(server: &mut DuplexStream, commands: usize) {
    let mut bytes = [0; 64];
    let packed = cmd("PING").get_packed_command();
    for _ in 0..commands {
        server.read_exact(&mut bytes[..packed.len()]).await.unwrap();
        assert_eq!(bytes[..packed.len()], packed);
    }
}

#[tokio::test]
async fn replies_go_to_those_who_asked_in_whatever_pieces_they_come() {
    let (pipe, mut server, _) = pipe(LONG);
    let ping = cmd("PING");
    let serve = async {
        heard(&mut server, 3).await;
        for byte in b"*2\r\n$2\r\nhi\r\n$0\r\n\r\n$2\r\nhi\r\n-ERR no\r\n" {
            server.write_all(&[*byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    let (one, two, three, ()) =
        tokio::join!(pipe.ask(&ping), pipe.ask(&ping), pipe.ask(&ping), serve);
    let text = |text: &str| Value::BulkString(text.into());
    assert_eq!(one.unwrap(), Value::Array(vec![text("hi"), text("")]));
    assert_eq!(two.unwrap(), text("hi"));
    assert_eq!(three.unwrap_err().code(), Some("ERR"));
}

#[tokio::test]
async fn a_reply_that_comes_too_late_is_nobody_elses() {
    let (pipe, mut server, _) = pipe(Duration::from_millis(20));
    assert!(pipe.ask(&cmd("PING")).await.unwrap_err().is_timeout());
    heard(&mut server, 1).await;
    let late = async {
        server.write_all(b":1\r\n").await.unwrap();
        heard(&mut server, 1).await;
        server.write_all(b":2\r\n").await.unwrap();
    };
    let ping = cmd("PING");
    let (reply, ()) = tokio::join!(pipe.ask(&ping), late);
    assert_eq!(reply.unwrap(), Value::Int(2));
}

#[tokio::test]
async fn what_was_taken_may_have_begun_and_what_was_not_taken_has_not() {
    let (pipe, mut server, ended) = pipe(LONG);
    let ping = cmd("PING");
    let (reply, ()) = tokio::join!(pipe.ask(&ping), async {
        heard(&mut server, 1).await;
        drop(server);
    });
    assert!(!reply.unwrap_err().is_connection_refusal());
    ended.await.unwrap();
    assert!(pipe.ask(&ping).await.unwrap_err().is_connection_refusal());
}

#[tokio::test]
async fn a_connection_that_nobody_uses_any_more_is_closed_and_not_called_broken() {
    let (pipe, mut server, ended) = pipe(LONG);
    drop(pipe);
    assert_eq!(server.read(&mut [0; 8]).await.unwrap(), 0);
    assert!(ended.await.is_err(), "nothing was told");
}
