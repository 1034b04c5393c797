// Package config owns the service's settings: one table says each setting's
// name, type, default and meaning, and drives parsing, the faults that are
// reported together at start, and the documentation of `coditect-api config`.
//
// Settings come from the environment and from one file; the environment wins.
// None of them is a secret: keys are read from files whose names are settings, so that what is in force can be
// printed and logged as it is.
//
// It imports the contract and nothing else of the project.
package config

import (
	"log/slog"
	"time"
)

// Config is what is in force: every value is valid once Load returned no fault.
type Config struct {
	Listen         string
	InternalListen string // "" when the internal listener is off
	Slot           string
	TraceURL       string  // "" when no traces are sent
	TraceShare     float64 // of requests that are traced
	LogLevel       slog.Level

	StoreEngine string
	StoreDir    string
	ClusterFile string

	FoundationDB FoundationDB

	JWTSecretFile string
	Issuer        string
	Audience      string
	AccessTTL     time.Duration
	RefreshTTL    time.Duration
	LoginTTL      time.Duration
	RefreshGrace  time.Duration

	PasswordHashSlots     int
	PasswordHashMemoryKiB int
	PasswordHashPasses    int
	PasswordHashQueue     int
	PasswordHashWait      time.Duration

	RequestTimeout time.Duration
	DrainPause     time.Duration
	ShutdownGrace  time.Duration

	PasskeyDomain  string
	PasskeyOrigins []string
	FactorKeyFile  string // "" for JWTSecretFile

	Mail             string // one of the Mail constants
	MailServer       string
	MailSecurity     string
	MailFrom         string
	MailUser         string
	MailPasswordFile string
	MailLinks        string

	CORSOrigins    []string
	TrustedProxies int
}

// Values of Config.Mail.
const (
	MailOff  = "off"  // letters are dropped
	MailLog  = "log"  // letters are printed with their secrets: for development
	MailSMTP = "smtp" // letters are handed to MailServer
)
