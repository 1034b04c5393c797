package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"coditect.ai/platform/app/internal/config"
	"coditect.ai/platform/app/internal/mail"
)

// mailTimeout bounds the sending of one letter.
const mailTimeout = 20 * time.Second

// loadSMTP prepares the way to the mail server, nil where mail takes another.
func loadSMTP(cfg config.Config) (*mail.SMTP, error) {
	if cfg.Mail != config.MailSMTP || cfg.MailServer == "" || cfg.MailFrom == "" { // the settings' own fault says what is missing
		return nil, nil
	}
	password := ""
	if cfg.MailPasswordFile != "" {
		text, err := os.ReadFile(cfg.MailPasswordFile)
		if err != nil {
			return nil, fmt.Errorf("reading the mail server's password: %w", err)
		}
		password = strings.TrimRight(string(text), "\r\n")
	}
	return mail.NewSMTP(mail.SMTPOptions{
		Address: cfg.MailServer, Security: mail.Security(cfg.MailSecurity), From: cfg.MailFrom,
		User: cfg.MailUser, Password: password, Timeout: mailTimeout, Now: time.Now,
	})
}

// sender is how letters leave the process.
func (p *process) sender() mail.Sender {
	switch {
	case p.smtp != nil:
		return p.smtp
	case p.cfg.Mail == config.MailLog:
		return mail.Log{To: p.log}
	default:
		return mail.Discard{To: p.log}
	}
}
