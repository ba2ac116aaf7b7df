//! Lists show an account its own things only.

use super::*;

fn ids(list: &Value) -> Vec<String> {
    let ids = list["data"].as_array().unwrap().iter();
    ids.map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_has_the_accounts_own_files() {
    on_both(async |redis| {
        let world = world(Setup::new(), redis).await;
        let of_a = upload(&world, "a").await;
        let of_b = [upload(&world, "b").await, upload(&world, "b").await];
        for (account, expected) in [("a", vec![of_a]), ("b", of_b.to_vec())] {
            let list = world.ask("GET", "/v1/files").of(account).send().await;
            assert_eq!((list.status.as_u16(), ids(&list.json())), (200, expected.clone()));
            assert_eq!(list.json()["first_id"], *expected[0]);
            assert_eq!(list.json()["last_id"], **expected.last().unwrap());
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn models_are_everybodys_and_a_list_that_is_none_is_kept_back() {
    let world_of_sim = world(Setup::new(), None).await;
    let models = world_of_sim.ask("GET", "/v1/models").of("b").send().await;
    assert!(!ids(&models.json()).is_empty());
    let answer =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\nfile-1, file-2";
    let canned = Canned::start(answer).await;
    let world = world(Setup::new().upstream(canned.address), None).await;
    let kept_back = world.ask("GET", "/v1/files").of("a").send().await;
    assert_eq!(kept_back.status, 502);
    assert!(!kept_back.body.windows(6).any(|part| part == b"file-1"));
}
