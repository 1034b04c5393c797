package config

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"coditect.ai/platform/app/contract"
)

// prefix is that of every variable of the service's own: one that has it and
// is not in the table is a fault, so that a misspelt name is never ignored.
const prefix = "CODITECT_"

// Names of the settings that a deployment leaves alone; the others are in the contract.
const (
	envLogLevel       = prefix + "LOG_LEVEL"
	envIssuer         = prefix + "TOKEN_ISSUER"
	envAudience       = prefix + "TOKEN_AUDIENCE"
	envAccessTTL      = prefix + "ACCESS_TOKEN_TTL"
	envRefreshTTL     = prefix + "REFRESH_TOKEN_TTL"
	envLoginTTL       = prefix + "LOGIN_TTL"
	envRefreshGrace   = prefix + "REFRESH_GRACE"
	envHashMemory     = prefix + "PASSWORD_HASH_MEMORY_KIB"
	envHashPasses     = prefix + "PASSWORD_HASH_PASSES"
	envHashQueue      = prefix + "PASSWORD_HASH_QUEUE"
	envHashWait       = prefix + "PASSWORD_HASH_WAIT"
	envRequestTimeout = prefix + "REQUEST_TIMEOUT"
	envTraceURL       = prefix + "TRACE_URL"
	envTraceShare     = prefix + "TRACE_SHARE"
	envMail           = contract.EnvMail
	envMailServer     = contract.EnvMailServer
	envMailSecurity   = prefix + "MAIL_SECURITY"
	envMailFrom       = contract.EnvMailFrom
	envMailUser       = contract.EnvMailUser
	envMailPassword   = contract.EnvMailPasswordFile
	envMailLinks      = contract.EnvMailLinks
	envCORSOrigins    = prefix + "CORS_ORIGINS"
)

// off is the value that turns an optional listener off.
const off = "off"

// Setting is one row of the table.
type Setting struct {
	Name    string
	Type    string
	Default string
	Doc     string
	set     func(c *Config, value string) error
}

// Settings returns the table in the order of its documentation.
func Settings() []Setting {
	return append([]Setting{
		{
			EnvFile, "path", "", "File of settings, which the environment overrides; see above. The flag --config names it too.",
			func(*Config, string) error { return nil }, // has been read before any other
		},
		{
			contract.EnvListen, "host:port", "127.0.0.1:8080", "Address of the API. Port 0 takes a free one.",
			address(func(c *Config) *string { return &c.Listen }, false),
		},
		{
			contract.EnvInternalListen, "host:port or off", "127.0.0.1:9090", "Address of metrics, profiles and build information. Never route it.",
			address(func(c *Config) *string { return &c.InternalListen }, true),
		},
		{
			contract.EnvSlot, "blue, green or empty", "", "Release slot that the process serves in: a label of logs and metrics.",
			oneOf(func(c *Config) *string { return &c.Slot }, "", "blue", "green"),
		},
		{envLogLevel, "debug, info, warn or error", "info", "Least severity that is logged. The probes' requests are logged at debug.", logLevel},
		{envTraceURL, "http or https URL", "", "OTLP endpoint that traces are sent to, such as http://127.0.0.1:4318. Empty: no traces.", traceURL},
		{envTraceShare, "0 to 1", "0.1", "Share of requests that are traced, with " + envTraceURL + ".", traceShare},

		{
			contract.EnvStoreEngine, contract.EngineEmbedded + " or " + contract.EngineFoundationDB, contract.EngineEmbedded, "Engine that keeps the data. `coditect-api version` tells which ones the binary has.",
			oneOf(func(c *Config) *string { return &c.StoreEngine }, contract.EngineEmbedded, contract.EngineFoundationDB),
		},
		{
			contract.EnvStoreDir, "path", ".data/store", "Directory of the embedded engine. Several processes of one machine may share it.",
			nonEmpty(func(c *Config) *string { return &c.StoreDir }),
		},
		{
			contract.EnvClusterFile, "path", "", "FoundationDB's cluster file, for the engine foundationdb.",
			text(func(c *Config) *string { return &c.ClusterFile }),
		},

		{
			contract.EnvJWTSecretFile, "path", ".data/jwt-secret", "File with one base64 key a line, each at least 32 bytes, or PEM blocks of key pairs (Ed25519, P-256): the first signs access tokens, every one verifies them. `coditect-api keygen` makes it.",
			nonEmpty(func(c *Config) *string { return &c.JWTSecretFile }),
		},
		{
			envIssuer, "text", contract.ServiceName, "Issuer (iss) of access tokens.",
			nonEmpty(func(c *Config) *string { return &c.Issuer }),
		},
		{
			envAudience, "text", contract.ServiceName, "Audience (aud) of access tokens.",
			nonEmpty(func(c *Config) *string { return &c.Audience }),
		},
		{
			envAccessTTL, "duration", "15m", "Life of an access token: 1s to 24h.",
			duration(func(c *Config) *time.Duration { return &c.AccessTTL }, time.Second, 24*time.Hour),
		},
		{
			envRefreshTTL, "duration", "720h", "Life of an unused refresh token: 1m to 8760h. Each use starts it anew.",
			duration(func(c *Config) *time.Duration { return &c.RefreshTTL }, time.Minute, 8760*time.Hour),
		},
		{
			envLoginTTL, "duration", "2160h", "Life of a login, however often it is refreshed: 1m to 87600h.",
			duration(func(c *Config) *time.Duration { return &c.LoginTTL }, time.Minute, 87600*time.Hour),
		},
		{
			envRefreshGrace, "duration", "30s", "Time in which a second use of one refresh token counts as a race, not as theft: 1s to 5m.",
			duration(func(c *Config) *time.Duration { return &c.RefreshGrace }, time.Second, 5*time.Minute),
		},

		{
			contract.EnvPasswordHashSlots, "1 to 64 or auto", "auto", "Passwords hashed at the same time. auto: as many as the cores and the memory limit allow.",
			hashSlots,
		},
		{
			envHashMemory, "number", "19456", "Memory of one Argon2id hash in KiB: 8192 to 262144. Raising it rehashes at the next login.",
			number(func(c *Config) *int { return &c.PasswordHashMemoryKiB }, 8192, 256<<10),
		},
		{
			envHashPasses, "number", "2", "Passes of one Argon2id hash: 1 to 16. Raising it rehashes at the next login.",
			number(func(c *Config) *int { return &c.PasswordHashPasses }, 1, 16),
		},
		{
			envHashQueue, "number", "256", "Requests that may wait for a slot; one more is answered 503 busy at once: 1 to 65536.",
			number(func(c *Config) *int { return &c.PasswordHashQueue }, 1, 1<<16),
		},
		{
			envHashWait, "duration", "5s", "Longest wait for a slot before the answer is 503 busy: 10ms to 30s.",
			duration(func(c *Config) *time.Duration { return &c.PasswordHashWait }, 10*time.Millisecond, 30*time.Second),
		},

		{
			envRequestTimeout, "duration", "10s", "Longest time that one request may work: 100ms to 5m.",
			duration(func(c *Config) *time.Duration { return &c.RequestTimeout }, 100*time.Millisecond, 5*time.Minute),
		},
		{
			contract.EnvDrainPause, "duration", contract.DrainPause.String(), "After SIGTERM: time to go on serving, not ready, while the load balancer turns away: 0s to 5m.",
			duration(func(c *Config) *time.Duration { return &c.DrainPause }, 0, 5*time.Minute),
		},
		{
			contract.EnvShutdownGrace, "duration", contract.ShutdownGrace.String(), "After that pause: time for requests under way to finish: 0s to 10m.",
			duration(func(c *Config) *time.Duration { return &c.ShutdownGrace }, 0, 10*time.Minute),
		},

		{
			envMail, "off, log or smtp", MailOff, "How mail is sent. off drops it; log prints it, with the links that give access, and is for development alone.",
			oneOf(func(c *Config) *string { return &c.Mail }, MailOff, MailLog, MailSMTP),
		},
		{
			envMailServer, "host:port", "", "SMTP server, for smtp.",
			text(func(c *Config) *string { return &c.MailServer }),
		},
		{
			envMailSecurity, "starttls, tls or none", "starttls", "How the connection to it is protected; none is for a server on the same host.",
			oneOf(func(c *Config) *string { return &c.MailSecurity }, "starttls", "tls", "none"),
		},
		{
			envMailFrom, "address", "", "Sender of mail, with or without a name: Coditect <no-reply@coditect.ai>.",
			text(func(c *Config) *string { return &c.MailFrom }),
		},
		{
			envMailUser, "text", "", "User at the SMTP server. Empty: no authentication.",
			text(func(c *Config) *string { return &c.MailUser }),
		},
		{
			envMailPassword, "path", "", "File with that user's password.",
			text(func(c *Config) *string { return &c.MailPasswordFile }),
		},
		{envMailLinks, "URL", "http://localhost:3000", "What the links in mail begin with: the web application's pages.", mailLinks},

		{envCORSOrigins, "origins, comma-separated, or *", "", "Origins whose pages may call the API. Empty: none.", corsOrigins},
		{
			contract.EnvTrustedProxies, "number", "0", "Entries that the proxies in front add to X-Forwarded-For, 0 to 16 (a Google load balancer adds 2). 0: the header is ignored.",
			number(func(c *Config) *int { return &c.TrustedProxies }, 0, 16),
		},
	}, append(factorSettings(), foundationDBSettings()...)...)
}

func text(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		*at(c) = v
		return nil
	}
}

func nonEmpty(at func(*Config) *string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if strings.TrimSpace(v) == "" {
			return errors.New("must not be empty")
		}
		*at(c) = v
		return nil
	}
}

func oneOf(at func(*Config) *string, allowed ...string) func(*Config, string) error {
	return func(c *Config, v string) error {
		if !slices.Contains(allowed, v) {
			return fmt.Errorf("must be one of %q", allowed)
		}
		*at(c) = v
		return nil
	}
}

func address(at func(*Config) *string, optional bool) func(*Config, string) error {
	return func(c *Config, v string) error {
		if optional && v == off {
			*at(c) = ""
			return nil
		}
		_, port, err := net.SplitHostPort(v)
		if err != nil {
			return errors.New(`must be "host:port", such as 127.0.0.1:8080`)
		}
		if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
			return errors.New("the port must be 0 to 65535")
		}
		*at(c) = v
		return nil
	}
}

func number(at func(*Config) *int, least, most int) func(*Config, string) error {
	return func(c *Config, v string) error {
		n, err := strconv.Atoi(v)
		if err != nil || n < least || n > most {
			return fmt.Errorf("must be a whole number from %d to %d", least, most)
		}
		*at(c) = n
		return nil
	}
}

func duration(at func(*Config) *time.Duration, least, most time.Duration) func(*Config, string) error {
	return func(c *Config, v string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < least || d > most {
			return fmt.Errorf("must be a duration from %v to %v, such as 1m30s", least, most)
		}
		*at(c) = d
		return nil
	}
}

func hashSlots(c *Config, v string) error {
	if v == "auto" {
		c.PasswordHashSlots = 0 // until Load knows what one hash takes
		return nil
	}
	return number(func(c *Config) *int { return &c.PasswordHashSlots }, 1, 64)(c, v)
}

func logLevel(c *Config, v string) error {
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, v) {
		return errors.New("must be debug, info, warn or error")
	}
	return c.LogLevel.UnmarshalText([]byte(v))
}

func traceURL(c *Config, v string) error {
	u, err := url.Parse(v)
	if v != "" && (err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "") {
		return errors.New("must be a URL such as http://127.0.0.1:4318, without credentials")
	}
	c.TraceURL = v
	return nil
}

func traceShare(c *Config, v string) error {
	share, err := strconv.ParseFloat(v, 64)
	if err != nil || !(share >= 0 && share <= 1) {
		return errors.New("must be a number from 0 to 1")
	}
	c.TraceShare = share
	return nil
}

func corsOrigins(c *Config, v string) error {
	if v == "*" {
		c.CORSOrigins = []string{v}
		return nil
	}
	var err error
	c.CORSOrigins, err = origins(v)
	return err
}

// origins reads a comma-separated list; "" has none.
func origins(v string) ([]string, error) {
	if v == "" {
		return nil, nil
	}
	var all []string
	for o := range strings.SplitSeq(v, ",") {
		o = strings.TrimSpace(o)
		u, err := url.Parse(o)
		if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || strings.ToLower(u.Scheme+"://"+u.Host) != o {
			return nil, fmt.Errorf(`%q is not an origin such as https://coditect.ai: scheme and host in lower case, no path`, o)
		}
		all = append(all, o)
	}
	return all, nil
}

func mailLinks(c *Config, v string) error {
	u, err := url.Parse(v)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return errors.New("must be a URL such as https://coditect.ai, without query and fragment")
	}
	c.MailLinks = v
	return nil
}

// checkTogether returns the faults that only several settings show together.
func checkTogether(c Config) []error {
	var faults []error
	if c.StoreEngine == contract.EngineFoundationDB && c.ClusterFile == "" {
		faults = append(faults, fmt.Errorf("%s: needed with %s=%s", contract.EnvClusterFile, contract.EnvStoreEngine, contract.EngineFoundationDB))
	}
	if fdb := c.FoundationDB; (fdb.TLSCertFile == "") != (fdb.TLSKeyFile == "") {
		faults = append(faults, errors.New("FDB_TLS_CERTIFICATE_FILE, FDB_TLS_KEY_FILE: neither is of use without the other"))
	}
	faults = append(faults, checkPasskeys(c)...)
	if c.Mail == MailSMTP {
		for name, value := range map[string]string{envMailServer: c.MailServer, envMailFrom: c.MailFrom} {
			if value == "" {
				faults = append(faults, fmt.Errorf("%s: needed with %s=%s", name, envMail, MailSMTP))
			}
		}
	}
	if (c.MailUser == "") != (c.MailPasswordFile == "") {
		faults = append(faults, fmt.Errorf("%s and %s: one is of no use without the other", envMailUser, envMailPassword))
	}
	if c.RefreshTTL > c.LoginTTL {
		faults = append(faults, fmt.Errorf("%s: a refresh token (%v) must not outlive its login (%s=%v)", envRefreshTTL, c.RefreshTTL, envLoginTTL, c.LoginTTL))
	}
	if c.AccessTTL > c.RefreshTTL {
		faults = append(faults, fmt.Errorf("%s: an access token (%v) must not outlive the refresh token (%s=%v)", envAccessTTL, c.AccessTTL, envRefreshTTL, c.RefreshTTL))
	}
	return faults
}
