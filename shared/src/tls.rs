//! Certificates and keys, as PEM files have them. What is wrong with one names the setting that named the file.
//!
//! Owns how they are read and what a TLS client is made of. Knows nothing of who is at the other end.

mod validity;

use std::fs;
use std::sync::Arc;

use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::config::ConfigError;
pub use validity::good_until;

/// The settings that name a client's files. An empty path is none.
#[derive(Debug, Clone, Copy)]
pub struct ClientFiles<'s> {
    /// Whose word about servers is taken.
    pub ca: Setting<'s>,
    /// The client's own certificates, its own first.
    pub certificate: Setting<'s>,
    /// The key of the first of them.
    pub key: Setting<'s>,
}

/// A setting that names a file.
#[derive(Debug, Clone, Copy)]
pub struct Setting<'s> {
    /// Its key.
    pub key: &'static str,
    /// The file's path.
    pub path: &'s str,
}

impl<'s> Setting<'s> {
    /// The setting called `key`, which is `path`.
    pub fn new(key: &'static str, path: &'s str) -> Self {
        Self { key, path }
    }

    /// Whether there is no file.
    pub fn is_none(&self) -> bool {
        self.path.is_empty()
    }

    /// What is wrong with the setting.
    pub fn invalid(&self, reason: impl std::fmt::Display) -> ConfigError {
        ConfigError::invalid(self.key, self.of_path(reason))
    }

    /// What is wrong with the file.
    pub fn unfit(&self, reason: impl std::fmt::Display) -> ConfigError {
        ConfigError::File {
            key: self.key,
            reason: self.of_path(reason),
        }
    }

    fn of_path(&self, reason: impl std::fmt::Display) -> String {
        if self.is_none() {
            reason.to_string()
        } else {
            format!("{}: {reason}", self.path)
        }
    }

    /// The file's content.
    pub fn read(&self) -> Result<Vec<u8>, ConfigError> {
        if self.is_none() {
            return Err(self.invalid("required here"));
        }
        fs::read(self.path).map_err(|error| self.unfit(error))
    }

    /// The certificates in the file, of which there must be one.
    pub fn certificates(
        &self,
        content: &[u8],
    ) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(content)
            .collect::<Result<_, _>>()
            .map_err(|error| self.unfit(error))?;
        if certificates.is_empty() {
            return Err(self.unfit("there is no certificate in it (PEM)"));
        }
        Ok(certificates)
    }

    /// The certificates in the file, as those whose word is taken.
    pub fn roots(&self, content: &[u8]) -> Result<RootCertStore, ConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(content)? {
            roots.add(certificate).map_err(|error| self.unfit(error))?;
        }
        Ok(roots)
    }

    /// The private key in the file: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub fn private_key(&self, content: &[u8]) -> Result<PrivateKeyDer<'static>, ConfigError> {
        PrivateKeyDer::from_pem_slice(content).map_err(|error| match error {
            PemError::NoItemsFound => {
                self.unfit("there is no private key in it (PEM, not encrypted)")
            }
            // Its other errors may quote a line.
            _ => self.unfit("it is not in order (PEM)"),
        })
    }
}

impl ClientFiles<'_> {
    /// Whether no file is named.
    pub fn are_none(&self) -> bool {
        self.ca.is_none() && self.certificate.is_none() && self.key.is_none()
    }

    /// Whether what is there is whole: a certificate has its key, and the other way round.
    fn check_pair(&self) -> Result<(), ConfigError> {
        match (self.certificate.is_none(), self.key.is_none()) {
            (true, false) => Err(self
                .certificate
                .invalid(format!("required with {}", self.key.key))),
            (false, true) => Err(self
                .key
                .invalid(format!("required with {}", self.certificate.key))),
            _ => Ok(()),
        }
    }

    /// Reads what is named, to see that it can be used.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_pair()?;
        if !self.ca.is_none() {
            self.ca.roots(&self.ca.read()?)?;
        }
        if !self.certificate.is_none() {
            self.certificate.certificates(&self.certificate.read()?)?;
            self.key.private_key(&self.key.read()?)?;
        }
        Ok(())
    }

    /// A client that believes this CA and no other, and shows its certificate if it has one.
    pub fn client(&self) -> Result<ClientConfig, ConfigError> {
        self.check_pair()?;
        let roots = self.ca.roots(&self.ca.read()?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| self.ca.invalid(error))?
            .with_root_certificates(roots);
        if self.certificate.is_none() {
            return Ok(builder.with_no_client_auth());
        }
        let chain = self.certificate.certificates(&self.certificate.read()?)?;
        let key = self.key.private_key(&self.key.read()?)?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| self.certificate.unfit(error))
    }
}
