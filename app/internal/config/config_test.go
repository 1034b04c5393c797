package config

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"coditect.ai/platform/app/contract"
)

func TestDefaultsSuitALaptop(t *testing.T) {
	t.Parallel()
	c, values, err := Load([]string{"HOME=/root", "PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:8080" || c.InternalListen != "127.0.0.1:9090" || c.StoreEngine != contract.EngineEmbedded || c.StoreDir != ".data/store" ||
		c.AccessTTL != 15*time.Minute || c.RefreshTTL != 30*24*time.Hour || c.PasswordHashMemoryKiB<<10 != contract.PasswordHashMemory || c.PasswordHashPasses != 2 ||
		c.PasswordHashSlots < 1 || c.DrainPause != contract.DrainPause || c.ShutdownGrace != contract.ShutdownGrace || c.CORSOrigins != nil || c.TrustedProxies != 0 {
		t.Fatalf("%+v", c)
	}
	for _, v := range values {
		if v.Source != "default" || v.Doc == "" || v.Type == "" {
			t.Errorf("%+v", v)
		}
	}
}

func TestEveryContractVariableIsASetting(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range Settings() {
		if known[s.Name] {
			t.Errorf("%s is in the table twice", s.Name)
		}
		known[s.Name] = true
	}
	for _, name := range []string{
		contract.EnvListen, contract.EnvInternalListen, contract.EnvStoreEngine, contract.EnvStoreDir, contract.EnvClusterFile, contract.EnvJWTSecretFile,
		contract.EnvPasswordHashSlots, contract.EnvDrainPause, contract.EnvShutdownGrace, contract.EnvSlot, contract.EnvTrustedProxies,
		contract.EnvFactorKeyFile, contract.EnvPasskeyDomain, contract.EnvPasskeyOrigins,
		contract.EnvMail, contract.EnvMailServer, contract.EnvMailFrom, contract.EnvMailUser, contract.EnvMailPasswordFile, contract.EnvMailLinks,
	} {
		if !known[name] {
			t.Errorf("%s is not in the table", name)
		}
	}
}

func TestValuesAndTheirFaults(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, value string
		ok          bool
	}{
		{contract.EnvListen, ":8080", true},
		{contract.EnvListen, "[::1]:0", true},
		{contract.EnvListen, "8080", false},
		{contract.EnvListen, "localhost:http", false},
		{contract.EnvListen, "localhost:70000", false},
		{contract.EnvListen, "off", false},
		{contract.EnvInternalListen, "off", true},
		{contract.EnvInternalListen, "", false},
		{contract.EnvSlot, "", true},
		{contract.EnvSlot, "green", true},
		{contract.EnvSlot, "Green", false},
		{contract.EnvStoreEngine, "postgres", false},
		{contract.EnvStoreEngine, contract.EngineFoundationDB, false}, // without a cluster file
		{contract.EnvStoreDir, " ", false},
		{contract.EnvPasswordHashSlots, "auto", true},
		{contract.EnvPasswordHashSlots, "64", true},
		{contract.EnvPasswordHashSlots, "0", false},
		{contract.EnvPasswordHashSlots, "2.0", false},
		{envHashMemory, "262145", false}, // auth takes no more
		{contract.EnvDrainPause, "0s", true},
		{contract.EnvDrainPause, "-1s", false},
		{contract.EnvDrainPause, "5", false},
		{contract.EnvShutdownGrace, "1h", false},
		{envLogLevel, "debug", true},
		{envLogLevel, "verbose", false},
		{envAccessTTL, "25h", false},
		{envRefreshTTL, "5m", false},    // less than an access token
		{envRefreshTTL, "8000h", false}, // more than a login
		{envCORSOrigins, "https://coditect.ai, http://localhost:3000", true},
		{envCORSOrigins, "*", true},
		{envCORSOrigins, "https://coditect.ai/", false},
		{envCORSOrigins, "https://Coditect.ai", false}, // browsers never send it
		{envCORSOrigins, "https://", false},
		{envCORSOrigins, "coditect.ai", false},
		{envCORSOrigins, "https://a.example,", false},
		{contract.EnvTrustedProxies, "2", true},
		{contract.EnvTrustedProxies, "17", false},
		{envCORSOrigins, "HTTPS://coditect.ai", false},
		{contract.EnvPasskeyDomain, "coditect.ai", false}, // whose origin is not the default one
		{contract.EnvPasskeyDomain, "https://localhost", false},
		{contract.EnvPasskeyDomain, "Localhost", false},
		{contract.EnvPasskeyOrigins, "http://localhost:3000, https://ide.localhost", true},
		{contract.EnvPasskeyOrigins, "https://coditect.ai", false}, // beside the domain
		{contract.EnvPasskeyOrigins, "https://evillocalhost", false},
		{contract.EnvPasskeyOrigins, "*", false},
		{contract.EnvPasskeyOrigins, "", false},
		{"CODITECT_FDB_API_VERSION", "710", true},
		{"CODITECT_FDB_API_VERSION", "720", false},
		{"CODITECT_FDB_TIMEOUT", "2m", false},
		{"CODITECT_FDB_SIZE_LIMIT", "1000000", true},
		{"CODITECT_FDB_SIZE_LIMIT", "10000001", false},
		{"FDB_TLS_CERTIFICATE_FILE", "cert.pem", false}, // without its key
		{"CODITECT_LISTN", "x", false},
	} {
		_, _, err := Load([]string{tt.name + "=" + tt.value})
		if (err == nil) != tt.ok || (err != nil && !strings.Contains(err.Error(), tt.name)) {
			t.Errorf("%s=%q: %v", tt.name, tt.value, err)
		}
	}
}

func TestPasskeysOfADomain(t *testing.T) {
	t.Parallel()
	for origin, ok := range map[string]bool{
		"https://coditect.ai": true, "https://ide.coditect.ai:8443": true, "http://coditect.ai": false,
		"https://coditect.ai.evil.net": false, "https://evilcoditect.ai": false,
	} {
		c, _, err := Load([]string{contract.EnvPasskeyDomain + "=coditect.ai", contract.EnvPasskeyOrigins + "=" + origin})
		if (err == nil) != ok || c.PasskeyDomain != "coditect.ai" {
			t.Errorf("%s: %v", origin, err)
		}
	}
}

func TestFaultsAreToldTogether(t *testing.T) {
	t.Parallel()
	_, values, err := Load([]string{contract.EnvListen + "=x", envLogLevel + "=y", "CODITECT_B=1", "CODITECT_A=1"})
	if err == nil || strings.Count(err.Error(), "\n") != 3 || strings.Index(err.Error(), "CODITECT_A") > strings.Index(err.Error(), "CODITECT_B") {
		t.Fatal(err)
	}
	if values[1].Name != contract.EnvListen || values[1].Value != "x" || values[1].Source != "environment" {
		t.Fatalf("%+v", values[1])
	}
}

func TestAutoHashSlots(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		cores        int
		memory, hash int64
		want         int
	}{
		{2, math.MaxInt64, contract.PasswordHashMemory, 2},
		{8, 1 << 30, contract.PasswordHashMemory, 8},
		{64, 1 << 30, contract.PasswordHashMemory, 25},
		{128, math.MaxInt64, contract.PasswordHashMemory, 64},
		{4, 128 << 20, contract.PasswordHashMemory, 1},
		{4, 1 << 20, contract.PasswordHashMemory, 1},
		{8, 1 << 30, 128 << 20, 3},
		{8, 1 << 30, 1 << 30, 1},
	} {
		if got := autoHashSlots(tt.cores, tt.memory, tt.hash); got != tt.want {
			t.Errorf("%d cores, %d bytes of %d: %d, want %d", tt.cores, tt.memory, tt.hash, got, tt.want)
		}
	}
}

func TestMarkdownHasEverySetting(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	if err := WriteMarkdown(&out); err != nil {
		t.Fatal(err)
	}
	if rows := strings.Count(out.String(), "\n"); rows != len(Settings())+2 {
		t.Fatalf("%d rows", rows)
	}
	for line := range strings.Lines(out.String()) {
		if strings.Count(line, "|") != 5 {
			t.Errorf("a cell breaks the table: %s", line)
		}
	}
}
