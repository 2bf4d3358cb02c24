create table workshop_cars (stock integer, car_name varchar(80));
create table showroom_cars (car_name varchar(80));
