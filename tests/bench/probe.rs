//! The limit of ingest: the same web server and the same Redis client, with nothing between them but one XADD of the body
//! over one shared connection.

use actix_web::{App, HttpResponse, HttpServer, web};
use redis::aio::ConnectionManager;

/// The stream it writes.
pub(crate) const STREAM: &str = "probe";

async fn append(redis: web::Data<ConnectionManager>, body: web::Bytes) -> HttpResponse {
    let mut connection = redis.get_ref().clone();
    let mut command = redis::cmd("XADD");
    command.arg(STREAM).arg("*").arg("d").arg(body.as_ref());
    match command.query_async::<String>(&mut connection).await {
        Ok(_) => HttpResponse::Accepted().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// Serves until it is ended.
pub(crate) fn serve(port: u16, redis_url: &str) {
    let cores = std::thread::available_parallelism().unwrap().get();
    actix_web::rt::System::new().block_on(async {
        let client = redis::Client::open(redis_url).unwrap();
        let shared = web::Data::new(ConnectionManager::new(client).await.unwrap());
        HttpServer::new(move || App::new().app_data(shared.clone()).route("/in", web::post().to(append)))
            .workers(cores)
            .bind(("127.0.0.1", port))
            .unwrap()
            .run()
            .await
            .unwrap();
    });
}
