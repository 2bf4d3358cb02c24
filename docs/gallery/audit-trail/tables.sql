create table accounts (no integer primary key, owner varchar(40) not null);
create table account_trail (account integer not null, what varchar(10) not null, topic varchar(20) not null, record {json} not null);
