create table invoices (
  invoice_id integer primary key,
  client_id integer not null,
  issued date,
  paid_at {datetime},
  total decimal(14, 2) not null,
  paid {bool} not null,
  source varchar(40) not null
);
create table invoice_items (
  invoice_id integer not null references invoices (invoice_id),
  item_no integer not null,
  description varchar(40),
  amount decimal(14, 2) not null,
  taxed {bool} not null,
  primary key (invoice_id, item_no)
);
