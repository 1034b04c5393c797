// Package contract states what whoever deploys the service may rely on: its
// ports, paths, environment variables and metric names. The infrastructure
// program renders its manifests from these constants and the service is built
// on them, so a probe and the path that it asks for cannot drift apart.
//
// It imports nothing, and nothing else of the app module is visible to infra.
package contract

import "time"

// Identity of the service.
const (
	// ServiceName is what /health answers and what logs, metrics and traces carry.
	ServiceName = "coditect-v5-api"
	// Binary is the name of the executable inside the image.
	Binary = "coditect-api"
	// ServeCommand is the sub-command that runs the API.
	ServeCommand = "serve"
)

// Ports of the container.
const (
	// Port serves the API, health and readiness.
	Port = 8080
	// InternalPort serves metrics, profiles and build information. It is never routed.
	InternalPort = 9090
)

// Paths on Port unless said otherwise.
const (
	// BasePath is the prefix of every API route; the gateway routes it as it is.
	BasePath = "/api/v5"
	// HealthPath answers 200 as soon as the process serves, with or without the database: the liveness probe.
	HealthPath = BasePath + "/health"
	// ReadyPath answers 200 only while the store answers in time: the readiness probe and the load balancer's check.
	ReadyPath = BasePath + "/ready"
	// KeySetPath answers the public keys that verify access tokens (RFC 7517).
	KeySetPath = BasePath + "/.well-known/jwks.json"
	// MetricsPath is on InternalPort.
	MetricsPath = "/metrics"
)

// Headers of every response.
const (
	HeaderRequestID = "X-Request-Id"
	HeaderVersion   = "X-Coditect-Version"
)

// HeaderRehearsal is what requests carry to be let through to a service that is
// rehearsed before traffic is: the gateway asks for it, the service does not.
const HeaderRehearsal = "X-Coditect-Rehearsal"

// Environment variables that a deployment may set. The service documents every
// one that it reads, these included, by `coditect-api config`.
const (
	// EnvListen is the API's listen address, "host:port"; the default binds loopback.
	EnvListen = "CODITECT_LISTEN"
	// EnvInternalListen is the internal listen address, "host:port".
	EnvInternalListen = "CODITECT_INTERNAL_LISTEN"
	// EnvStoreEngine is EngineEmbedded or EngineFoundationDB.
	EnvStoreEngine = "CODITECT_STORE_ENGINE"
	// EnvStoreDir is the directory of the embedded engine; several processes of one machine may share it.
	EnvStoreDir = "CODITECT_STORE_DIR"
	// EnvClusterFile is FoundationDB's own variable.
	EnvClusterFile = "FDB_CLUSTER_FILE"
	// EnvJWTSecretFile names a file with one base64 key a line, each at least 32 bytes, or
	// PEM blocks of key pairs (Ed25519, P-256): the first signs access tokens, every one verifies them.
	EnvJWTSecretFile = "CODITECT_JWT_SECRET_FILE"
	// EnvFactorKeyFile names a file of the same form whose keys seal the secrets of
	// authenticator apps; without it those of EnvJWTSecretFile do.
	EnvFactorKeyFile = "CODITECT_FACTOR_KEY_FILE"
	// EnvPasskeyDomain is the domain that passkeys belong to, for good.
	EnvPasskeyDomain = "CODITECT_PASSKEY_DOMAIN"
	// EnvPasskeyOrigins are the origins of the pages that may use passkeys, comma-separated.
	EnvPasskeyOrigins = "CODITECT_PASSKEY_ORIGINS"
	// EnvMail is "smtp" where mail is sent, EnvMailServer then the server's "host:port",
	// by STARTTLS, EnvMailFrom the sender, EnvMailUser and EnvMailPasswordFile who signs
	// in there, and EnvMailLinks what links in mail begin with.
	EnvMail             = "CODITECT_MAIL"
	EnvMailServer       = "CODITECT_MAIL_SERVER"
	EnvMailFrom         = "CODITECT_MAIL_FROM"
	EnvMailUser         = "CODITECT_MAIL_USER"
	EnvMailPasswordFile = "CODITECT_MAIL_PASSWORD_FILE"
	EnvMailLinks        = "CODITECT_MAIL_LINKS"
	// EnvPasswordHashSlots is the number of passwords hashed at the same time, each taking PasswordHashMemory.
	EnvPasswordHashSlots = "CODITECT_PASSWORD_HASH_SLOTS"
	// EnvDrainPause is how long the process goes on serving, not ready, after SIGTERM (a Go duration).
	EnvDrainPause = "CODITECT_DRAIN_PAUSE"
	// EnvShutdownGrace bounds how long requests under way may take after the pause (a Go duration).
	EnvShutdownGrace = "CODITECT_SHUTDOWN_GRACE"
	// EnvSlot is the release slot, "blue" or "green", that the process serves in; a label of logs and metrics.
	EnvSlot = "CODITECT_SLOT"
	// EnvTrustedProxies is the number of X-Forwarded-For entries, from the right, that
	// are our own proxies' doing; the leftmost of them is the client's address.
	EnvTrustedProxies = "CODITECT_TRUSTED_PROXIES"
)

// Values of EnvStoreEngine.
const (
	EngineEmbedded     = "embedded"
	EngineFoundationDB = "foundationdb"
)

// What the image looks like.
const (
	// UserID runs the container: no root, a read-only root file system.
	UserID = 65532
	// StoreMountPath is where the embedded engine's volume is mounted.
	StoreMountPath = "/var/lib/coditect"
	// SecretsMountPath is where secret files are mounted.
	SecretsMountPath = "/var/run/secrets/coditect"
	// JWTSecretFile is the file of EnvJWTSecretFile below SecretsMountPath.
	JWTSecretFile = "jwt-secret"
	// MailPasswordFile is the file of EnvMailPasswordFile below SecretsMountPath.
	MailPasswordFile = "mail-password"
	// ClusterFileMountPath is a writable directory that holds FoundationDB's cluster file.
	ClusterFileMountPath = "/var/run/coditect/foundationdb"
)

// PasswordHashMemory is what hashing one password takes, in bytes (Argon2id with OWASP's 19 MiB).
const PasswordHashMemory = 19 << 20

// Names of the metrics that dashboards, alerts and the rollout's judge read.
const (
	// MetricRequests counts answered requests by route, method, status and slot.
	MetricRequests = "coditect_http_requests_total"
	// MetricRequestSeconds is the histogram of their duration in seconds.
	MetricRequestSeconds = "coditect_http_request_duration_seconds"
	// MetricInFlight is the gauge of requests under way.
	MetricInFlight = "coditect_http_requests_in_flight"
	// MetricPanics counts handlers that panicked; each was answered with 500.
	MetricPanics = "coditect_http_panics_total"
)

// How a process leaves.
const (
	// DrainPause is the default of EnvDrainPause.
	DrainPause = 5 * time.Second
	// ShutdownGrace is the default of EnvShutdownGrace.
	ShutdownGrace = 20 * time.Second
)
