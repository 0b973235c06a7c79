package config

import "github.com/seed-16d79997/zot/auth/ldap"

// LDAP is a server that knows names and passwords, with zot's keys. Its ports without a number are 636, and 389 if
// insecure.
type LDAP struct {
	Address            string
	Port               int // 0: the usual one
	Insecure, StartTLS bool
	SkipVerify         bool
	CACert             string // a file; "": the system's
	BaseDN             string
	Subtree            bool
	UserAttribute      string
	UserFilter         string
	GroupAttribute     string
	BindDN             string
	BindPassword       string
	CredentialsFile    string // has both instead
}

func readLDAP(s *section, c *Auth) {
	l := &LDAP{}
	c.LDAP = l
	s.text("address", &l.Address)
	s.number("port", &l.Port)
	s.boolean("insecure", &l.Insecure)
	s.boolean("startTLS", &l.StartTLS)
	s.boolean("skipVerify", &l.SkipVerify)
	s.text("cacert", &l.CACert)
	s.text("baseDN", &l.BaseDN)
	s.boolean("subtreeSearch", &l.Subtree)
	s.text("userAttribute", &l.UserAttribute)
	s.text("userFilter", &l.UserFilter)
	s.text("userGroupAttribute", &l.GroupAttribute)
	s.text("bindDN", &l.BindDN)
	s.text("bindPassword", &l.BindPassword)
	s.text("credentialsFile", &l.CredentialsFile)
	l.checkServer(s)
	l.checkSearch(s)
}

func (l *LDAP) checkServer(s *section) {
	if l.Address == "" {
		s.problem(s.key("address"), `name the server, as "ldap.example.org"`, "is missing")
	} else if err := checkHost(bare(l.Address)); err != nil {
		s.problem(s.key("address"), `write it as "ldap.example.org", without ldap:// and port`, "%v", err)
	}
	if l.Port < 0 || l.Port > 65535 {
		s.problem(s.key("port"), "give 1 to 65535, or none for 636, or 389 with insecure", "%d is no port", l.Port)
	}
	switch {
	case l.StartTLS && !l.Insecure:
		s.note(s.key("startTLS"), `says nothing without "insecure": true: the connection has TLS from its first byte`)
	case l.Insecure && !l.StartTLS:
		s.note(s.key("insecure"), `sends passwords in the clear; "startTLS": true encrypts them`)
	case !l.Insecure && l.Port == 389:
		s.note(s.key("port"), `389 is mostly one without TLS; it is spoken from the first byte, unless "insecure" and "startTLS" are true`)
	}
	if l.SkipVerify && (l.StartTLS || !l.Insecure) {
		s.note(s.key("skipVerify"), "believes whoever answers to be the server, and tells them passwords")
	}
}

func (l *LDAP) checkSearch(s *section) {
	switch err := ldap.CheckDN(l.BaseDN); { // bindDN need be none: some servers take another name
	case l.BaseDN == "":
		s.problem(s.key("baseDN"), `say below what users are, as "ou=Users,dc=example,dc=org"`, "is missing")
	case err != nil:
		s.problem(s.key("baseDN"), `write it as "ou=Users,dc=example,dc=org"`, "%v", err)
	}
	switch err := ldap.CheckAttribute(l.UserAttribute); {
	case l.UserAttribute == "":
		s.problem(s.key("userAttribute"), `say which attribute has the name that users log in by, as "uid"`, "is missing")
	case err != nil:
		s.problem(s.key("userAttribute"), `write it as "uid"`, "%v", err)
	}
	if err := ldap.CheckAttribute(l.GroupAttribute); l.GroupAttribute != "" && err != nil {
		s.problem(s.key("userGroupAttribute"), `write it as "memberOf"`, "%v", err)
	}
	if err := ldap.CheckFilter(l.UserFilter); err != nil {
		s.problem(s.key("userFilter"), `write it as "(objectClass=person)"`, "%v", err)
	}
	switch {
	case l.CredentialsFile != "" && (l.BindDN != "" || l.BindPassword != ""):
		s.problem(s.key("credentialsFile"), "remove the file, or bindDN and bindPassword", "stands beside bindDN and bindPassword")
	case l.BindDN != "" && l.BindPassword == "":
		s.problem(s.key("bindPassword"), "give it, or remove bindDN to search as nobody in particular", "is missing: servers take a bind without a password for nobody's")
	case l.BindDN == "" && l.BindPassword != "":
		s.problem(s.key("bindDN"), "say whose password bindPassword is", "is missing")
	}
}

// checkFiles reads the files that the section names.
func (l *LDAP) checkFiles(r *reader) {
	if l.CACert != "" {
		const key = "http.auth.ldap.cacert"
		if data := r.file(key, l.CACert); data != nil && !holdsCertificate(data) {
			r.problem(key, "give certificates in PEM", "%s holds no certificate", l.CACert)
		}
	}
	if l.CredentialsFile != "" {
		const key = "http.auth.ldap.credentialsFile"
		if data := r.file(key, l.CredentialsFile); data == nil {
			return
		}
		if _, err := ldap.ReadAccount(l.CredentialsFile); err != nil {
			r.problem(key, `write it as {"bindDN": "cn=zot,dc=example,dc=org", "bindPassword": "..."}`, "%v", err)
		}
	}
}
