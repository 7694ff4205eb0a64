module coffer-clients

go 1.26
