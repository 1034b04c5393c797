package auth

import (
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// BenchmarkRawHash is what Login can at best be: Argon2id alone, on every core.
func BenchmarkRawHash(b *testing.B) {
	p := Config{}.withDefaults().Password
	salt := random(saltBytes)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			argon2.IDKey([]byte(password), salt, p.Iterations, p.MemoryKiB, p.Parallelism, hashBytes)
		}
	})
}

// BenchmarkLogin is of 100 who wait at the gate at any time.
func BenchmarkLogin(b *testing.B) {
	cfg := Config{HashWait: time.Minute}.withDefaults()
	e := newEnv(b, cfg)
	e.mustRegister(b, "ada@example.com")
	b.SetParallelism((100 + cfg.HashSlots - 1) / cfg.HashSlots)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := e.Login(b.Context(), credentials("ada@example.com")); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	e := newEnv(b, Config{})
	token := e.mustRegister(b, "ada@example.com").Tokens.AccessToken
	for b.Loop() {
		if _, err := e.Verify(token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAuthorize(b *testing.B) {
	e := newEnv(b, Config{})
	a := e.mustVerify(b, e.mustRegister(b, "ada@example.com").Tokens)
	for b.Loop() {
		if err := e.authorize(b, a); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRefresh(b *testing.B) {
	e := newEnv(b, Config{})
	token := e.mustRegister(b, "ada@example.com").Tokens.RefreshToken
	for b.Loop() {
		e.Clock.Advance(time.Minute)
		token = e.mustRefresh(b, token).RefreshToken
	}
}
