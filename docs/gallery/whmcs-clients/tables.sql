create table clients (
  client_id integer primary key,
  name varchar(80) not null,
  email varchar(120) not null,
  country char(2),
  status char(1),
  notes varchar(200),
  deleted smallint not null
);
