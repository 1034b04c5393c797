package session

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"slices"

	"github.com/google/uuid"

	"coditect.ai/platform/app/internal/auth"
)

// A cursor is a version, the id of the last session of a page, and a check
// that binds it to the caller and the tenant. The check is no secret and needs
// none: a page only ever holds the caller's own sessions, whatever the cursor;
// it is there so that a cursor that went astray is named as such.
const (
	cursorVersion = 1
	cursorCheck   = 8
	cursorBytes   = 1 + len(uuid.UUID{}) + cursorCheck
)

func cursorAfter(id uuid.UUID, a auth.Access) string {
	body := append([]byte{cursorVersion}, id[:]...)
	return base64.RawURLEncoding.EncodeToString(append(body, check(body, a)...))
}

func check(body []byte, a auth.Access) []byte {
	sum := sha256.Sum256(slices.Concat(body, a.TenantID[:], a.UserID[:]))
	return sum[:cursorCheck]
}

func parseCursor(text string, a auth.Access) (uuid.UUID, bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(cursorBytes) {
		return uuid.Nil, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != cursorBytes || b[0] != cursorVersion {
		return uuid.Nil, false
	}
	body, sum := b[:cursorBytes-cursorCheck], b[cursorBytes-cursorCheck:]
	return uuid.UUID(body[1:]), bytes.Equal(sum, check(body, a))
}
