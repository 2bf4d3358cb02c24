create table contacts (id varchar(36) primary key, full_name varchar(80) not null, active {bool} not null, extra {json});
create table contact_phones (
  contact_id varchar(36) not null references contacts (id),
  position integer not null,
  phone varchar(20) not null,
  primary key (contact_id, position)
);
