package store

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	jsonv1 "github.com/go-json-experiment/json/v1"
	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/store/tuple"
)

// Role is what a member may do in a tenant.
type Role string

// The roles.
const (
	RoleOwner  Role = "owner"
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
)

// Extra is what a record has that this release does not know: whoever changes a
// record writes it back as it was, so a newer release loses nothing.
type Extra struct {
	Unknown jsontext.Value `json:",embed"`
}

// User is a person who can sign in. Ids are in keys, not in values.
type User struct {
	ID            uuid.UUID `json:"-"`
	Email         string    `json:"email"` // in its normal form, which the index has too
	EmailVerified bool      `json:"email_verified,omitempty"`
	FirstName     string    `json:"first_name"`
	LastName      string    `json:"last_name"`
	Company       string    `json:"company,omitempty"`
	PasswordHash  string    `json:"password_hash"` // PHC string
	// LoginEpoch is raised to revoke every login at once: a login lives only
	// while its own Epoch is the same.
	LoginEpoch int64     `json:"login_epoch,omitempty"`
	CreatedAt  time.Time `json:"created_at"`
	UpdatedAt  time.Time `json:"updated_at"`
	Extra
}

// Tenant is an account that members share.
type Tenant struct {
	ID        uuid.UUID `json:"-"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
	Extra
}

// Membership makes a user a member of a tenant.
type Membership struct {
	TenantID  uuid.UUID `json:"-"`
	UserID    uuid.UUID `json:"-"`
	Role      Role      `json:"role"`
	CreatedAt time.Time `json:"created_at"`
	Extra
}

// TokenHash is the SHA-256 of a refresh token, the only trace of it that is kept.
type TokenHash [32]byte

// MarshalText writes the hash in base64url.
func (h TokenHash) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText reads what MarshalText writes.
func (h *TokenHash) UnmarshalText(text []byte) error {
	b, err := base64.RawURLEncoding.AppendDecode(nil, text)
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("%q is not the hash of a token", text)
	}
	copy(h[:], b)
	return nil
}

// Login is one signed-in device.
type Login struct {
	ID         uuid.UUID    `json:"-"`
	UserID     uuid.UUID    `json:"-"`
	TenantID   uuid.UUID    `json:"tenant_id"` // of its access tokens
	Device     string       `json:"device,omitempty"`
	Address    string       `json:"address,omitempty"`
	Epoch      int64        `json:"epoch,omitempty"` // the user's LoginEpoch when it was opened
	Current    TokenHash    `json:"current"`         // the only refresh token that rotates it
	Spent      []SpentToken `json:"spent,omitempty"` // the latest that were rotated, oldest first
	CreatedAt  time.Time    `json:"created_at"`
	LastUsedAt time.Time    `json:"last_used_at"`
	ExpiresAt  time.Time    `json:"expires_at"` // of the current refresh token too
	EndsAt     time.Time    `json:"ends_at"`    // ExpiresAt never slides beyond it
	Proof      Proof        `json:"proof,omitzero"`
	Extra

	indexed time.Time // the time of its expiry entry, zero where it has none
}

// Proof is how and when the user of a login proved who they are, the last time.
type Proof struct {
	ID      uuid.UUID `json:"id"` // of the act that proved it
	At      time.Time `json:"at"`
	Methods []string  `json:"methods"`
	Extra
}

// SpentToken is a refresh token that was rotated a moment ago. Salt, with the
// token itself, gives the one that followed.
type SpentToken struct {
	Hash TokenHash `json:"hash"`
	Salt []byte    `json:"salt"`
	At   time.Time `json:"at"`
	Extra
}

// RefreshToken says which login a token belongs to; it never changes. Whether
// it is current or spent is the login's to say.
type RefreshToken struct {
	Hash      TokenHash `json:"-"`
	UserID    uuid.UUID `json:"user_id"`
	LoginID   uuid.UUID `json:"login_id"`
	ExpiresAt time.Time `json:"expires_at"`
	Indexed   bool      `json:"indexed,omitempty"` // by its owner, which the first release did not do
	Extra
}

// Session is one IDE session.
type Session struct {
	ID            uuid.UUID       `json:"-"` // UUIDv7: its order is the order of creation
	TenantID      uuid.UUID       `json:"-"`
	UserID        uuid.UUID       `json:"user_id"`
	Name          string          `json:"name,omitempty"`
	WorkspacePath string          `json:"workspace_path,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitempty"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
	LastActiveAt  time.Time       `json:"last_active_at"`
	Extra
}

// record is a value with the version of its schema. A value is one byte of
// version and then JSON: the version is known before anything is parsed, a
// person can read the rest in fdbcli, fields may be added freely, and one
// decodes in microseconds, which is nothing beside the read itself.
type record interface{ version() byte }

func (User) version() byte         { return 1 }
func (Tenant) version() byte       { return 1 }
func (Membership) version() byte   { return 1 }
func (Login) version() byte        { return 1 }
func (RefreshToken) version() byte { return 1 }
func (Session) version() byte      { return 1 }
func (Invitation) version() byte   { return 1 }
func (Event) version() byte        { return 1 }
func (OneTimeToken) version() byte { return 1 }
func (KeptAnswer) version() byte   { return 1 }
func (Throttle) version() byte     { return 1 }
func (Letter) version() byte       { return 1 }
func (Removal) version() byte      { return 1 }

// load reads and decodes the record at key.
func load[T record](r *Reader, key tuple.Key) (T, error) {
	value, err := r.get(key)
	if err != nil {
		var none T
		return none, err
	}
	return decode[T](value)
}

func decode[T record](value []byte) (T, error) {
	var rec T
	if len(value) == 0 {
		return rec, fmt.Errorf("%T is empty", rec)
	}
	if value[0] == 0 || value[0] > rec.version() {
		return rec, fmt.Errorf("%T has schema version %d and this release knows 1 to %d: a newer release wrote it",
			rec, value[0], rec.version())
	}
	if err := jsonv2.Unmarshal(value[1:], &rec); err != nil { // four times as fast as encoding/json: every request decodes four records
		return rec, fmt.Errorf("decoding %T: %w", rec, err)
	}
	return rec, nil
}

// encoding is what earlier releases wrote: omitempty leaves out what is zero or
// empty, a nil slice is null. The two copies of a record are the same bytes.
var encoding = jsonv2.JoinOptions(
	jsonv1.OmitEmptyWithLegacySemantics(true), jsonv2.FormatNilSliceAsNull(true), jsonv2.FormatNilMapAsNull(true),
	jsonv2.Deterministic(true), jsontext.AllowInvalidUTF8(true), // read back as U+FFFD, as ever
)

// put encodes rec at each of keys. What cannot be encoded fails the transaction.
func (t *Tx) put(rec record, keys ...tuple.Key) {
	body, err := jsonv2.Marshal(rec, encoding)
	if err != nil {
		t.failed = errors.Join(t.failed, fmt.Errorf("encoding %T: %w", rec, err))
		return
	}
	value := append([]byte{rec.version()}, body...)
	for _, key := range keys {
		t.set(key, value)
	}
}

// loadIDs reads the n ids at an index's key, a tuple.
func loadIDs(r *Reader, key tuple.Key, n int) ([]uuid.UUID, error) {
	value, err := r.get(key)
	if err != nil {
		return nil, err
	}
	return decodeIDs(value, n)
}

func decodeIDs(value []byte, n int) ([]uuid.UUID, error) {
	elements, err := tuple.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("decoding an index entry: %w", err)
	}
	var ids []uuid.UUID
	for _, e := range elements {
		if id, ok := e.(uuid.UUID); ok {
			ids = append(ids, id)
		}
	}
	if len(ids) != n || len(elements) != n {
		return nil, fmt.Errorf("index entry is %v, not %d ids", elements, n)
	}
	return ids, nil
}
