package auth

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/fault"
	"coditect.ai/platform/app/internal/store"
)

const (
	// maxTokenBytes bounds what is parsed at all; ours have about 600.
	maxTokenBytes = 4 << 10
	// clockSkew forgives a replica whose clock is behind that of the one which
	// issued the token a moment ago. It never lengthens a token's life.
	clockSkew = 5 * time.Second

	typeAccess  = "at+jwt" // RFC 9068
	typeGeneric = "JWT"
)

// claims are those of an access token.
type claims struct {
	jwt.RegisteredClaims
	TenantID uuid.UUID  `json:"tid"`
	Role     store.Role `json:"role"`
	LoginID  uuid.UUID  `json:"lid"`
}

// sign issues an access token for a, with a time and an id of its own.
func (s *Service) sign(a Access) (string, error) {
	now := s.now()
	signer := s.keys.signs
	token := jwt.NewWithClaims(signer.method, claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer:    s.cfg.Issuer,
			Audience:  jwt.ClaimStrings{s.cfg.Audience},
			Subject:   a.UserID.String(),
			ID:        uuid.NewString(),
			IssuedAt:  jwt.NewNumericDate(now),
			NotBefore: jwt.NewNumericDate(now),
			ExpiresAt: jwt.NewNumericDate(now.Add(s.cfg.AccessTTL)),
		},
		TenantID: a.TenantID,
		Role:     a.Role,
		LoginID:  a.LoginID,
	})
	token.Header["typ"] = typeAccess
	token.Header["kid"] = signer.id
	text, err := token.SignedString(signer.sign)
	if err != nil {
		return "", fmt.Errorf("signing an access token: %w", err)
	}
	return text, nil
}

// errAccess answers every access token that does not verify: why is for the log.
var errAccess = fault.New(fault.InvalidToken, "The access token is not valid or has expired; refresh it or sign in again.")

// Verify proves that the service issued token and that it has not expired. It
// asks no store; see Authorize.
func (s *Service) Verify(token string) (Access, error) {
	if len(token) > maxTokenBytes || strings.ContainsAny(token, "\r\n") { // which base64 would skip
		return Access{}, errAccess.Because(errors.New("too long, or on several lines"))
	}
	hash := sha256.Sum256([]byte(token))
	if a, ok := s.verified.get(hash); ok {
		if !s.now().Before(a.ExpiresAt) {
			return Access{}, errAccess.Because(jwt.ErrTokenExpired)
		}
		return a, nil
	}
	var c claims
	if _, err := s.parser.ParseWithClaims(token, &c, s.keys.keyOf); err != nil {
		return Access{}, errAccess.Because(err)
	}
	user, err := uuid.Parse(c.Subject)
	switch {
	case err != nil:
		return Access{}, errAccess.Because(fmt.Errorf("sub: %w", err))
	case user == uuid.Nil || c.TenantID == uuid.Nil || c.LoginID == uuid.Nil || c.ID == "" || c.Role == "":
		return Access{}, errAccess.Because(errors.New("a claim is missing"))
	case !s.now().Before(c.ExpiresAt.Time):
		return Access{}, errAccess.Because(jwt.ErrTokenExpired)
	}
	a := Access{
		UserID: user, TenantID: c.TenantID, LoginID: c.LoginID, Role: c.Role,
		TokenID: c.ID, ExpiresAt: c.ExpiresAt.Time,
	}
	s.verified.put(hash, a)
	return a, nil
}

func newParser(cfg Config, keys *Keyring, now func() time.Time) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(keys.methods),
		jwt.WithIssuer(cfg.Issuer),
		jwt.WithAudience(cfg.Audience),
		jwt.WithExpirationRequired(),
		jwt.WithNotBeforeRequired(),
		jwt.WithIssuedAt(),
		jwt.WithLeeway(clockSkew),
		jwt.WithTimeFunc(now),
		jwt.WithStrictDecoding(),
	)
}

// keyOf finds the key that a token's header names. A header that says anything
// beyond alg, kid and typ is refused, which leaves no room for keys that
// travel with the token (jwk, jku, x5c, x5u), for crit, or for tokens inside tokens.
func (r *Keyring) keyOf(token *jwt.Token) (any, error) {
	for name := range token.Header {
		if name != "alg" && name != "kid" && name != "typ" {
			return nil, fmt.Errorf("header has %q", name)
		}
	}
	if typ := token.Header["typ"]; typ != typeAccess && typ != typeGeneric {
		return nil, fmt.Errorf("typ is %v", typ)
	}
	id, _ := token.Header["kid"].(string)
	k, known := r.verifies[id]
	if !known {
		return nil, errors.New("kid is not one of ours")
	}
	if k.method.Alg() != token.Method.Alg() {
		return nil, fmt.Errorf("alg is %s, and the key's is %s", token.Method.Alg(), k.method.Alg())
	}
	return k.verifies, nil
}
