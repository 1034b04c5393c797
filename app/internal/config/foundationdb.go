package config

import (
	"errors"
	"time"
)

// FoundationDB is what the engine of that name is told beside its cluster file.
type FoundationDB struct {
	APIVersion    int
	Timeout       time.Duration
	MaxRetries    int
	MaxRetryDelay time.Duration
	SizeLimit     int

	ExternalClientDir string
	TLSCertFile       string
	TLSKeyFile        string
	TLSCAFile         string
	TLSVerifyPeers    string
}

const prefixFDB = prefix + "FDB_"

// foundationDBSettings are the engine's rows of the table. What the client
// library knows as a variable of its own keeps that name.
func foundationDBSettings() []Setting {
	return []Setting{
		{
			prefixFDB + "API_VERSION", "710 or 730", "730", "FoundationDB: API version, 710 for a cluster of 7.1.",
			apiVersion,
		},
		{
			prefixFDB + "TIMEOUT", "duration", "5s", "FoundationDB: longest time of a transaction with its retries: 100ms to 1m.",
			duration(func(c *Config) *time.Duration { return &c.FoundationDB.Timeout }, 100*time.Millisecond, time.Minute),
		},
		{
			prefixFDB + "MAX_RETRIES", "number", "100", "FoundationDB: how often a transaction is run again: 1 to 10000.",
			number(func(c *Config) *int { return &c.FoundationDB.MaxRetries }, 1, 10_000),
		},
		{
			prefixFDB + "MAX_RETRY_DELAY", "duration", "1s", "FoundationDB: longest pause before that: 10ms to 10s.",
			duration(func(c *Config) *time.Duration { return &c.FoundationDB.MaxRetryDelay }, 10*time.Millisecond, 10*time.Second),
		},
		{
			prefixFDB + "SIZE_LIMIT", "number", "10000000", "FoundationDB: bytes of a transaction at the most: 100000 to 10000000, which is every engine's limit.",
			number(func(c *Config) *int { return &c.FoundationDB.SizeLimit }, 100_000, 10_000_000),
		},
		{
			"FDB_NETWORK_OPTION_EXTERNAL_CLIENT_DIRECTORY", "path", "", "FoundationDB: directory of client libraries of other versions, for a cluster of 7.1 or one that is upgraded.",
			text(func(c *Config) *string { return &c.FoundationDB.ExternalClientDir }),
		},
		{
			"FDB_TLS_CERTIFICATE_FILE", "path", "", "FoundationDB: certificate for coordinators with :tls.",
			text(func(c *Config) *string { return &c.FoundationDB.TLSCertFile }),
		},
		{
			"FDB_TLS_KEY_FILE", "path", "", "FoundationDB: key of that certificate.",
			text(func(c *Config) *string { return &c.FoundationDB.TLSKeyFile }),
		},
		{
			"FDB_TLS_CA_FILE", "path", "", "FoundationDB: authorities that the cluster's certificates are checked against.",
			text(func(c *Config) *string { return &c.FoundationDB.TLSCAFile }),
		},
		{
			"FDB_TLS_VERIFY_PEERS", "text", "", "FoundationDB: which certificates to accept, such as `Check.Valid=1`.",
			text(func(c *Config) *string { return &c.FoundationDB.TLSVerifyPeers }),
		},
	}
}

func apiVersion(c *Config, v string) error {
	versions := map[string]int{"710": 710, "730": 730}
	if versions[v] == 0 {
		return errors.New("must be 710 or 730")
	}
	c.FoundationDB.APIVersion = versions[v]
	return nil
}
