//! OTLP over gRPC: the same decoders, limits and door as over HTTP. Messages are taken as bytes, so that their size and shape are
//! checked before anything is allocated for them.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::post;
use bytes::{Buf as _, BufMut as _, Bytes};
use prost::Message as _;
use tonic::codec::{Codec, CompressionEncoding, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::server::{Grpc, UnaryService};
use tonic::{Code, Status};

use super::App;
use super::caller::{self, Caller};
use super::traces::{Signal, export};
use crate::auth::Role;
use crate::ingest::otlp::Encoding;
use crate::server::problem::Problem;

/// Every service of the gRPC listener.
pub fn grpc_router(app: App) -> Router {
    let path = |signal: &str, service: &str| format!("/opentelemetry.proto.collector.{signal}.v1.{service}/Export");
    Router::new()
        .route(&path("trace", "TraceService"), post(traces))
        .route(&path("logs", "LogsService"), post(logs))
        .route(&path("metrics", "MetricsService"), post(metrics))
        .fallback(unknown)
        .layer(from_fn_with_state(app.clone(), super::observe))
        .with_state(app)
}

async fn unknown() -> Response {
    respond(&Status::unimplemented("the trace, logs and metrics services of OTLP are served here"))
}

async fn traces(State(app): State<App>, request: Request) -> Response {
    serve(app, Signal::Traces, request).await
}

async fn logs(State(app): State<App>, request: Request) -> Response {
    serve(app, Signal::Logs, request).await
}

async fn metrics(State(app): State<App>, request: Request) -> Response {
    serve(app, Signal::Metrics, request).await
}

async fn serve(app: App, signal: Signal, request: Request) -> Response {
    let caller = match caller::enter(&app, &request, &[Role::Ingest]) {
        Ok(caller) => caller,
        Err(problem) => return respond(&status(&problem)),
    };
    let (bytes_max, time_max) = (app.body.bytes_max, app.body.timeout);
    let mut grpc = Grpc::new(AsBytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Zstd)
        .max_decoding_message_size(bytes_max);
    let call = grpc.unary(Export { app, caller, signal }, request.map(tonic::body::Body::new));
    match tokio::time::timeout(time_max, call).await {
        Ok(response) => response.map(Body::new),
        Err(_) => respond(&Status::deadline_exceeded("the message was not complete in time")),
    }
}

fn respond(status: &Status) -> Response {
    status.clone().into_http::<tonic::body::Body>().map(Body::new)
}

struct Export {
    app: App,
    caller: Caller,
    signal: Signal,
}

impl UnaryService<Bytes> for Export {
    type Response = Bytes;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<Bytes>, Status>> + Send>>;

    fn call(&mut self, request: tonic::Request<Bytes>) -> Self::Future {
        let (app, caller, signal) = (self.app.clone(), self.caller.clone(), self.signal);
        Box::pin(async move {
            let body = request.into_inner();
            let exported = export(&app, &caller, signal, &body, Encoding::Protobuf).await;
            match exported {
                Ok(exported) => Ok(tonic::Response::new(Bytes::from(exported.to_protobuf()))),
                Err(problem) => Err(status(&problem)),
            }
        })
    }
}

/// The problem in gRPC's words. What may be sent again says after how long, without which exporters throw it away.
fn status(problem: &Problem) -> Status {
    let code = match problem.status() {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        StatusCode::FORBIDDEN => Code::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS => Code::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::INSUFFICIENT_STORAGE => Code::Unavailable,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ => Code::InvalidArgument,
    };
    let message = format!("{}: {}", problem.code(), problem.detail());
    match problem.retry_after_after() {
        Some(after) => Status::with_details(code, message.clone(), Bytes::from(retry_info(code, &message, after))),
        None => Status::new(code, message),
    }
}

/// `google.rpc.Status` with a `RetryInfo`.
fn retry_info(code: Code, message: &str, after: Duration) -> Vec<u8> {
    #[derive(Clone, PartialEq, prost::Message)]
    struct Wait {
        #[prost(int64, tag = "1")]
        seconds: i64,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct RetryInfo {
        #[prost(message, optional, tag = "1")]
        retry_delay: Option<Wait>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct Any {
        #[prost(string, tag = "1")]
        type_url: String,
        #[prost(bytes = "vec", tag = "2")]
        value: Vec<u8>,
    }
    #[derive(Clone, PartialEq, prost::Message)]
    struct RpcStatus {
        #[prost(int32, tag = "1")]
        code: i32,
        #[prost(string, tag = "2")]
        message: String,
        #[prost(message, repeated, tag = "3")]
        details: Vec<Any>,
    }
    let wait = Wait { seconds: i64::try_from(after.as_secs()).unwrap_or(i64::MAX) };
    let info = RetryInfo { retry_delay: Some(wait) };
    let detail = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(), value: info.encode_to_vec() };
    RpcStatus { code: code.into(), message: message.to_owned(), details: vec![detail] }.encode_to_vec()
}

/// Messages as they come.
#[derive(Clone, Copy, Debug)]
struct AsBytes;

impl Codec for AsBytes {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for AsBytes {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}
