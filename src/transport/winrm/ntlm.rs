//! Logs in by NTLM and seals messages with what was agreed on (MS-NLMP); the only user of `sspi`.

use sspi::{
    AuthIdentity, BufferType, ClientRequestFlags, CredentialUse, DataRepresentation,
    EncryptionFlags, SecurityBuffer, SecurityBufferRef, Sspi as _, SspiImpl as _, Username,
};

use crate::secret::Secret;
use crate::transport::Cause;

type Credentials = <sspi::Ntlm as sspi::SspiImpl>::CredentialsHandle;

/// The length of the signature that goes before each sealed message.
const SIGNATURE: usize = 16;

/// One login, and the keys that come of it.
pub(super) struct Ntlm {
    context: sspi::Ntlm,
    credentials: Credentials,
    /// What is logged in to, as in `HTTP/server`.
    target: String,
}

impl Ntlm {
    /// Begins a login; with a `binding` it is worth nothing on another TLS connection.
    pub(super) fn new(
        user: &str,
        password: &Secret,
        host: &str,
        binding: Option<&[u8]>,
    ) -> Result<Self, Cause> {
        let mut context = sspi::Ntlm::new();
        if let Some(binding) = binding {
            context.set_channel_bindings(binding);
        }
        let identity = AuthIdentity {
            username: Username::parse(user).map_err(|error| error.to_string())?,
            password: password.expose().to_owned().into(),
        };
        let credentials = context
            .acquire_credentials_handle()
            .with_credential_use(CredentialUse::Outbound)
            .with_auth_data(&identity)
            .execute(&mut context)?
            .credentials_handle;
        Ok(Self { context, credentials, target: format!("HTTP/{host}") })
    }

    /// Answers the server's message; the first answer is to none.
    pub(super) fn answer(&mut self, message: Vec<u8>) -> Result<Vec<u8>, Cause> {
        let flags = ClientRequestFlags::CONFIDENTIALITY
            | ClientRequestFlags::INTEGRITY
            | ClientRequestFlags::REPLAY_DETECT
            | ClientRequestFlags::SEQUENCE_DETECT
            | ClientRequestFlags::ALLOCATE_MEMORY;
        let mut input = [SecurityBuffer::new(message, BufferType::Token)];
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut request = self
            .context
            .initialize_security_context()
            .with_credentials_handle(&mut self.credentials)
            .with_context_requirements(flags)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(&self.target)
            .with_input(&mut input)
            .with_output(&mut output);
        self.context.initialize_security_context_impl(&mut request)?.resolve_to_result()?;
        let [answer] = output;
        Ok(answer.buffer)
    }

    /// Seals a message; returns its signature and what it has become.
    pub(super) fn seal(&mut self, message: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Cause> {
        let (mut signature, mut sealed) = (vec![0; SIGNATURE], message.to_vec());
        let mut buffers = [
            SecurityBufferRef::token_buf(&mut signature),
            SecurityBufferRef::data_buf(&mut sealed),
        ];
        self.context.encrypt_message(EncryptionFlags::empty(), &mut buffers)?;
        Ok((signature, sealed))
    }

    /// Opens a sealed message; one that somebody has changed is an error.
    pub(super) fn open(&mut self, signature: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Cause> {
        let (mut signature, mut message) = (signature.to_vec(), sealed.to_vec());
        let mut buffers = [
            SecurityBufferRef::token_buf(&mut signature),
            SecurityBufferRef::data_buf(&mut message),
        ];
        self.context.decrypt_message(&mut buffers)?;
        Ok(message)
    }
}
