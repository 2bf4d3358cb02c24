create table stock_jakarta (sku varchar(20) primary key, qty integer not null, value decimal(14, 2), branch varchar(10));
create table stock_bandung (sku varchar(20) primary key, qty integer not null);
