//! Keys: issued once, listed, revoked.

use super::*;

#[tokio::test]
async fn a_key_is_issued_listed_and_revoked() {
    let api = Api::with_account().await;
    let new = json!({"name": "laptop", "ends": "2026-06-01T00:00:00Z"});
    let (status, issued) = api.post("/accounts/acme/keys", new).await;
    assert_eq!(status, StatusCode::CREATED);
    let secret = issued["secret"].as_str().unwrap();
    let hash = crate::directory::KeyHash::of(secret);
    let known = api.admin.directory.key(hash, Check::Age).await.unwrap().unwrap();
    assert!(known.key.is_valid(api.admin.now()));

    let (_, listed) = api.get("/accounts/acme/keys").await;
    assert_eq!(listed["keys"], json!([issued["key"]]));
    assert!(!listed.to_string().contains(secret), "the secret is shown once");
    assert_eq!(api.get("/keys").await.1["keys"], json!([]), "it is no service key");

    let id = issued["key"]["id"].as_str().unwrap();
    assert_eq!(api.ask("DELETE", &format!("/keys/{id}"), String::new()).await.0, StatusCode::OK);
    let known = api.admin.directory.key(hash, Check::Age).await.unwrap().unwrap();
    assert!(!known.key.is_valid(api.admin.now()), "the gateway has forgotten the valid one");
    assert_eq!(api.get("/accounts/acme/keys").await.1["keys"][0]["state"], "revoked");
    let missing = api.ask("DELETE", "/keys/key_0", String::new()).await;
    assert_eq!(missing.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_service_key_belongs_to_no_account() {
    let api = Api::with_account().await;
    let (status, issued) = api.post("/keys", json!({"name": "saas"})).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_eq!(issued["key"]["account"], Value::Null);
    assert_eq!(api.get("/keys").await.1["keys"][0]["id"], issued["key"]["id"]);
    assert_eq!(api.get("/accounts/acme/keys").await.1["keys"], json!([]));
    let id = issued["key"]["id"].as_str().unwrap();
    assert_eq!(api.ask("DELETE", &format!("/keys/{id}"), String::new()).await.0, StatusCode::OK);
    assert_eq!(api.get("/keys").await.1["keys"][0]["state"], "revoked");
}

#[tokio::test]
async fn what_makes_no_key_is_refused() {
    let api = Api::with_account().await;
    for body in [
        json!({"name": " "}),
        json!({"name": "a\nb"}),
        json!({"name": "x".repeat(101)}),
        json!({"name": "x", "ends": "2026-01-01T00:00:00Z"}),
        json!({"name": "x", "secret": "mine"}),
    ] {
        assert_eq!(api.problem("/accounts/acme/keys", body).await, (400, "malformed".into()));
    }
    let nobody = api.problem("/accounts/nobody/keys", json!({"name": "x"})).await;
    assert_eq!(nobody, (404, "no_such_account".into()));
    assert_eq!(api.get("/accounts/nobody/keys").await.0, StatusCode::NOT_FOUND);
}
