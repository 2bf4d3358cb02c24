//! The bound on what is under way, and an actor that breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use async_trait::async_trait;
use tokio::sync::{Semaphore, mpsc};

use super::*;
use crate::{
    message::{Action, Generation, MessageId, Position, StreamId},
    ports::NewRecord,
};

/// Answers when it is let; panics for the topic `panic`.
struct Slow {
    let_go: Arc<Semaphore>,
}

#[async_trait(?Send)]
impl Appender for Slow {
    async fn append(&self, request: AppendRequest) -> Result<Appended, AppendError> {
        assert!(&*request.records[0].topic != "panic", "the test said so");
        self.let_go.acquire().await.unwrap().forget();
        let id = MessageId(Position { generation: Generation::new("g"), id: StreamId::ZERO });
        Ok(Appended { ids: vec![id; request.records.len()], replayed: false })
    }

    async fn ping(&self) -> Result<(), AppendError> {
        Ok(())
    }
}

fn request(topic: &str, records: usize) -> AppendRequest {
    let record = NewRecord {
        topic: topic.into(),
        action: Action::Insert,
        key: None,
        own_id: None,
        traceparent: None,
        data: "{\"a\":1}".into(),
    };
    AppendRequest { application: "app".into(), records: vec![record; records], idempotency: None }
}

struct Worker {
    handle: Rc<IngestHandle>,
    let_go: Arc<Semaphore>,
    board: StatusBoard,
    _ends: mpsc::UnboundedReceiver<crate::status::ActorEnd>,
}

fn worker(gate: Arc<Gate>) -> Worker {
    let (let_go, board) = (Arc::new(Semaphore::new(0)), StatusBoard::new());
    let (ends, receiver) = mpsc::unbounded_channel();
    let semaphore = Arc::clone(&let_go);
    let make = move || Rc::new(Slow { let_go: Arc::clone(&semaphore) }) as Rc<dyn Appender>;
    let handle = IngestHandle::start("worker", Box::new(make), gate, &board, ends);
    Worker { handle: Rc::new(handle), let_go, board, _ends: receiver }
}

fn in_system(test: impl Future<Output = ()>) {
    actix_rt::System::new().block_on(test);
}

#[test]
fn what_is_under_way_is_bounded_over_all_workers() {
    in_system(async {
        for (gate, first, second) in [(Gate::new(1, 1_000), 8, 3), (Gate::new(100, 20), 2, 1)] {
            let (one, other) = (worker(Arc::clone(&gate)), worker(Arc::clone(&gate)));
            let handle = Rc::clone(&one.handle);
            let under_way = actix_rt::spawn(async move { handle.append(request("cars", first)).await });
            while gate.requests.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            assert_eq!(other.handle.append(request("cars", second)).await, Err(AppendError::Overloaded));
            one.let_go.add_permits(1);
            assert_eq!(under_way.await.unwrap().unwrap().ids.len(), first);
            other.let_go.add_permits(1);
            other.handle.append(request("cars", second)).await.unwrap();
            assert_eq!((gate.requests.load(Ordering::Relaxed), gate.bytes.load(Ordering::Relaxed)), (0, 0));
        }
    });
}

#[test]
fn a_request_beyond_the_bound_is_let_in_alone() {
    in_system(async {
        let worker = worker(Gate::new(10, 10));
        worker.let_go.add_permits(1);
        assert_eq!(worker.handle.append(request("cars", 50)).await.unwrap().ids.len(), 50);
    });
}

#[test]
fn an_actor_whose_work_panics_is_built_anew() {
    in_system(async {
        let gate = Gate::new(10, 1_000);
        let worker = worker(Arc::clone(&gate));
        worker.let_go.add_permits(10);
        worker.handle.append(request("cars", 1)).await.unwrap();
        assert!(matches!(worker.handle.append(request("panic", 1)).await, Err(AppendError::Unavailable(_))));
        let began = Instant::now();
        while let Err(error) = worker.handle.append(request("cars", 1)).await {
            assert!(matches!(error, AppendError::Unavailable(_)) && began.elapsed() < Duration::from_secs(10));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(worker.board.snapshot()[0].restarts, 1);
        assert_eq!(gate.requests.load(Ordering::Relaxed), 0, "what panicked is not under way");
    });
}
