module kshm

go 1.26
