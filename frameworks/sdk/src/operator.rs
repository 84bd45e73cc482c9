//! Asking the master something: for command lines and other programs that are no framework.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::header::{AUTHORIZATION, HOST};
use hyper_util::rt::TokioIo;
use rialto_core::master::{Command, Reply};
use rialto_core::model::Reject;
use rialto_proto::logs::ReadLog;
use rialto_proto::status::reject_from_status;
use rialto_proto::v1::operator_client::OperatorClient;
use rialto_proto::{MAX_FRAME_BYTES, Wire, v1};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_stream::Stream;
use tonic::metadata::MetadataMap;
use tonic::transport::Channel;
use tonic::{Request, Status, Streaming};

use crate::access::{Access, AccessError};
use crate::link::deepest;

/// How long a question other than a log may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer that is taken, in bytes.
const BODY_MAX: usize = 64 << 20;

/// Why the master gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// It can't be reached that way.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It can't be reached.
    #[error("master {address}: {problem}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        problem: String,
    },
    /// It refuses.
    #[error("{0}")]
    Rejected(Reject),
    /// It refuses, without saying more than a status.
    #[error("the master refuses: {0}")]
    Refused(String),
    /// Its answer is not understood.
    #[error("the master's answer is not understood: {0}")]
    Garbled(String),
}

/// A client of a master. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MasterClient {
    pub(crate) access: Access,
    pub(crate) operator: OperatorClient<Channel>,
}

impl MasterClient {
    /// Connects to the master.
    ///
    /// # Errors
    /// If it can't be reached.
    pub async fn connect(access: Access) -> Result<Self, ClientError> {
        let channel = access.endpoint()?.connect().await.map_err(|error| unreachable(&access, &error))?;
        let operator = OperatorClient::new(channel).max_decoding_message_size(MAX_FRAME_BYTES);
        Ok(Self { access, operator })
    }

    /// A client that connects when it is first used.
    ///
    /// # Errors
    /// If the access makes no connection.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn lazy(access: Access) -> Result<Self, ClientError> {
        let operator =
            OperatorClient::new(access.endpoint()?.connect_lazy()).max_decoding_message_size(MAX_FRAME_BYTES);
        Ok(Self { access, operator })
    }

    /// Asks for something to be done or explained.
    ///
    /// # Errors
    /// If the master refuses or can't be reached.
    pub async fn command(&self, command: &Command) -> Result<Reply, ClientError> {
        let mut request = Request::new(command.to_wire());
        request.set_timeout(REQUEST_TIMEOUT);
        self.access.sign(request.metadata_mut());
        let reply = self.operator.clone().command(request).await.map_err(|status| refused(&status))?;
        Reply::from_wire(reply.into_inner()).map_err(|error| ClientError::Garbled(error.to_string()))
    }

    /// Reads a log or another file of a task, piece by piece.
    ///
    /// # Errors
    /// If there is no such task or file, or its agent can't be reached.
    pub async fn logs(&self, read: &ReadLog) -> Result<LogBytes, ClientError> {
        let mut request = Request::new(v1::ReadLogRequest { read: Some(read.to_wire()) });
        self.access.sign(request.metadata_mut());
        let chunks = self.operator.clone().read_log(request).await.map_err(|status| refused(&status))?;
        Ok(LogBytes { chunks: chunks.into_inner(), ended: false })
    }

    /// Reads a JSON document, such as `/api/tasks`.
    ///
    /// # Errors
    /// If the master refuses or can't be reached, or the document is not of that form.
    pub async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        let body = self.get(path).await?;
        serde_json::from_slice(&body).map_err(|error| ClientError::Garbled(format!("{path}: {error}")))
    }

    /// Reads a document as it is.
    ///
    /// # Errors
    /// If the master refuses or can't be reached.
    pub async fn get(&self, path: &str) -> Result<Bytes, ClientError> {
        let answer = tokio::time::timeout(REQUEST_TIMEOUT, self.get_untimed(path)).await;
        answer.unwrap_or_else(|_| Err(self.broken(format!("no answer within {} s", REQUEST_TIMEOUT.as_secs()))))
    }

    async fn get_untimed(&self, path: &str) -> Result<Bytes, ClientError> {
        let address = &self.access.address;
        let tcp = TcpStream::connect((&*address.host, address.port)).await;
        let tcp = tcp.map_err(|error| unreachable(&self.access, &error))?;
        match self.access.authority()? {
            None => self.get_over(tcp, path).await,
            Some(pem) => {
                let connector = TlsConnector::from(Arc::new(tls_config(pem)?));
                let name = ServerName::try_from(address.host.to_string());
                let name =
                    name.map_err(|_| self.broken("the host is no name that a certificate can have".to_owned()))?;
                let tls = connector.connect(name, tcp).await.map_err(|error| unreachable(&self.access, &error))?;
                self.get_over(tls, path).await
            }
        }
    }

    async fn get_over<I>(&self, io: I, path: &str) -> Result<Bytes, ClientError>
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let failed = |error: &hyper::Error| unreachable(&self.access, error);
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(|error| failed(&error))?;
        let connection = tokio::spawn(connection);
        let request = self.get_request(path)?;
        let response = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), BODY_MAX).collect().await;
        connection.abort();
        let body = body.map_err(|error| ClientError::Garbled(format!("{path}: {error}")))?.to_bytes();
        if status.is_success() {
            return Ok(body);
        }
        let text: String = String::from_utf8_lossy(&body).chars().take(500).collect();
        Err(ClientError::Refused(format!("{path}: {status}: {}", text.trim())))
    }

    fn get_request(&self, path: &str) -> Result<hyper::Request<Empty<Bytes>>, ClientError> {
        let mut metadata = MetadataMap::new();
        self.access.sign(&mut metadata);
        let mut request = hyper::Request::get(path).header(HOST, self.access.address.authority());
        let headers = metadata.into_headers();
        for name in [AUTHORIZATION.as_str(), crate::access::PRINCIPAL_KEY] {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value.clone());
            }
        }
        request.body(Empty::new()).map_err(|error| self.broken(format!("{path}: {error}")))
    }

    fn broken(&self, problem: String) -> ClientError {
        ClientError::Unreachable { address: self.access.address.to_string(), problem }
    }
}

fn tls_config(pem: &[u8]) -> Result<rustls::ClientConfig, AccessError> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| AccessError::Authority(error.to_string()))?;
        roots.add(certificate).map_err(|error| AccessError::Authority(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(AccessError::Authority("expected a certificate in PEM form, found none".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|error| AccessError::Authority(error.to_string()))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn unreachable(access: &Access, error: &(dyn std::error::Error + 'static)) -> ClientError {
    ClientError::Unreachable { address: access.address.to_string(), problem: deepest(error) }
}

pub(crate) fn refused(status: &Status) -> ClientError {
    match reject_from_status(status) {
        Some(reject) => ClientError::Rejected(reject),
        None => ClientError::Refused(format!("{}: {}", status.code(), status.message())),
    }
}

/// The bytes of a log, piece by piece; ends with the log.
#[derive(Debug)]
pub struct LogBytes {
    chunks: Streaming<v1::LogChunk>,
    ended: bool,
}

impl Stream for LogBytes {
    type Item = Result<Bytes, ClientError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let chunk = ready!(Pin::new(&mut self.chunks).poll_next(cx));
        Poll::Ready(match chunk {
            Some(Ok(chunk)) => {
                self.ended = chunk.eof;
                Some(Ok(chunk.data))
            }
            Some(Err(status)) => {
                self.ended = true;
                Some(Err(refused(&status)))
            }
            None => None,
        })
    }
}
