// Package mail owns how a letter leaves the service: what a message is, and
// the senders that a deployment chooses from. SMTP hands messages to a server;
// Log prints them, for development, tokens included; Discard sends nothing.
//
// It knows nothing of the project: what a letter says, when it is sent and how
// often it is tried belong to its callers.
package mail

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"mime/quotedprintable"
	"net/mail"
	"strings"
	"time"

	"golang.org/x/net/idna"
)

// Message is a plain-text mail to one address.
type Message struct {
	ID      string // unique; a message that is sent twice has the same
	To      string
	Subject string
	Text    string
}

// Sender sends a message, or says why it could not. It returns when the context
// is done at the latest, and never keeps the message.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// Log prints messages instead of sending them. What is in them gives access to
// accounts, so it is for development alone.
type Log struct{ To *slog.Logger }

// Send prints m.
func (l Log) Send(ctx context.Context, m Message) error {
	l.To.InfoContext(ctx, "mail", slog.String("to", m.To), slog.String("subject", m.Subject), slog.String("text", m.Text))
	return nil
}

// Discard drops messages. Its log line tells neither whom a message was for nor
// what it said.
type Discard struct{ To *slog.Logger }

// Send drops m.
func (d Discard) Send(ctx context.Context, m Message) error {
	d.To.WarnContext(ctx, "mail dropped: no way to send mail is configured", slog.String("mail_id", m.ID))
	return nil
}

// asciiAddress writes the domain of an address as mail servers do.
func asciiAddress(address string) (string, error) {
	at := strings.LastIndexByte(address, '@')
	if at < 1 || strings.ContainsAny(address, "\r\n\x00 <>") {
		return "", errors.New("not an address")
	}
	domain, err := idna.Lookup.ToASCII(address[at+1:])
	if err != nil {
		return "", fmt.Errorf("domain of the address: %w", err)
	}
	return address[:at+1] + domain, nil
}

// encode writes m as RFC 5322 and MIME say. from may have a name.
func (m Message) encode(from *mail.Address, to string, now time.Time) ([]byte, error) {
	if strings.ContainsAny(m.ID+m.Subject, "\r\n\x00") {
		return nil, errors.New("line break in a header")
	}
	_, domain, _ := strings.Cut(from.Address, "@")
	var b bytes.Buffer
	for _, header := range [][2]string{
		{"From", from.String()},
		{"To", "<" + to + ">"},
		{"Subject", mime.QEncoding.Encode("utf-8", m.Subject)},
		{"Date", now.Format(time.RFC1123Z)},
		{"Message-ID", "<" + m.ID + "@" + domain + ">"},
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
		{"Auto-Submitted", "auto-generated"},
	} {
		b.WriteString(header[0] + ": " + header[1] + "\r\n")
	}
	b.WriteString("\r\n")
	text := quotedprintable.NewWriter(&b)
	if _, err := text.Write([]byte(strings.ReplaceAll(m.Text, "\n", "\r\n"))); err != nil {
		return nil, fmt.Errorf("encoding the text: %w", err)
	}
	if err := text.Close(); err != nil {
		return nil, fmt.Errorf("encoding the text: %w", err)
	}
	return b.Bytes(), nil
}
